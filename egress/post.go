package egress

import (
	"bytes"
	"context"
	"net/http"
)

// Post sends body to rawURL with POST under the same rules as Get; redirects are not
// followed, but answered. A status of any kind is a Response; what fails before one is
// an *Error.
func (c *Client) Post(ctx context.Context, rawURL, contentType string, body []byte, opts Options) (*Response, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	target, err := c.parse(rawURL)
	if err != nil {
		return nil, err
	}
	hop := Hop{Host: hostName(target.Hostname()), Port: portOf(target)}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, &Error{Stage: StageURL, Host: hop.Host, Port: hop.Port, What: "the URL cannot be asked for", Hint: "check the URL"}
	}
	req.Header.Set("Content-Type", contentType)
	res, hop, err := c.send(ctx, req, hop, opts)
	if err != nil {
		return nil, err
	}
	res.URL, res.Hops = target.String(), []Hop{hop}
	return res, nil
}
