package login

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// The bounds of a device login, in time.
const (
	defaultInterval = 5 * time.Second // RFC 8628 §3.2
	minInterval     = time.Second
	maxInterval     = time.Minute
	slowDown        = 5 * time.Second // RFC 8628 §3.5
	maxDeviceLife   = 30 * time.Minute
)

const (
	maxDeviceCode = 4 << 10
	maxUserCode   = 64
)

// Prompt is what a person does on another device.
type Prompt struct {
	URL      string // to open
	Code     string // to type there
	Complete string // has the code in it already; empty: there is none
	Expires  time.Time
}

// ErrNoDevice is a provider without the device flow.
var ErrNoDevice = errors.New("the identity provider has no device login (device_authorization_endpoint)")

// Device logs in by the device flow. show is called once with what the person
// must do.
func Device(ctx context.Context, c Config, show func(Prompt)) (idToken string, err error) {
	e, err := c.discover(ctx)
	if err != nil {
		return "", err
	}
	if e.Device == "" {
		return "", ErrNoDevice
	}
	status, body, err := c.post(ctx, e.Device, url.Values{"client_id": {c.ClientID}, "scope": {strings.Join(c.Scopes, " ")}})
	if err != nil {
		return "", fmt.Errorf("the identity provider's device endpoint: %w", err)
	}
	d, err := parseDevice(status, body)
	if err != nil {
		return "", err
	}
	show(Prompt{URL: d.URI, Code: d.UserCode, Complete: d.Complete, Expires: time.Now().Add(d.life())})
	ctx, cancel := context.WithTimeout(ctx, d.life())
	defer cancel()
	token, err := c.poll(ctx, e.Token, d)
	if err != nil {
		return "", err
	}
	return token, checkToken(token, c.Issuer, c.ClientID, "")
}

// device is the answer of a device authorization endpoint (RFC 8628 §3.2).
type device struct {
	DeviceCode string `json:"device_code"`
	UserCode   string `json:"user_code"`
	URI        string `json:"verification_uri"`
	Complete   string `json:"verification_uri_complete"`
	ExpiresIn  int64  `json:"expires_in"`
	Interval   int64  `json:"interval"`
}

// parseDevice reads it. What a person is shown is printable, and opens https.
func parseDevice(status int, body []byte) (device, error) {
	var answer struct {
		device
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	err := json.Unmarshal(body, &answer)
	d := answer.device
	switch {
	case err == nil && answer.Error != "":
		return device{}, refused(answer.Error, answer.Description)
	case status != http.StatusOK:
		return device{}, fmt.Errorf("the identity provider's device endpoint answers with status %d", status)
	case err != nil:
		return device{}, errors.New("the identity provider's device endpoint does not answer with the JSON that it should")
	case d.DeviceCode == "" || len(d.DeviceCode) > maxDeviceCode || d.ExpiresIn <= 0:
		return device{}, errors.New("the identity provider's device endpoint sends no code that could be used")
	case d.UserCode == "" || len(d.UserCode) > maxUserCode || strings.IndexFunc(d.UserCode, func(r rune) bool { return r < ' ' || r > '~' }) >= 0:
		return device{}, errors.New("the identity provider's device endpoint sends no code that could be typed")
	case checkURL(d.URI) != nil || d.Complete != "" && checkURL(d.Complete) != nil:
		return device{}, errors.New("the identity provider's device endpoint sends no https URL to open")
	}
	return d, nil
}

func (d device) life() time.Duration {
	return min(time.Duration(min(d.ExpiresIn, int64(maxDeviceLife/time.Second)))*time.Second, maxDeviceLife)
}

func (d device) interval() time.Duration {
	if d.Interval <= 0 {
		return defaultInterval
	}
	return max(minInterval, time.Duration(min(d.Interval, int64(maxInterval/time.Second)))*time.Second)
}

// poll asks for the token until the person has answered, as often as the provider
// allows (RFC 8628 §3.4, §3.5). A provider that cannot be reached is asked again,
// half as often.
func (c *Config) poll(ctx context.Context, endpoint string, d device) (string, error) {
	interval := d.interval()
	for {
		timer := time.NewTimer(interval)
		select {
		case <-ctx.Done():
			timer.Stop()
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return "", errors.New("nobody has logged in while the code was good")
			}
			return "", ctx.Err()
		case <-timer.C:
		}
		status, body, err := c.post(ctx, endpoint, url.Values{
			"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {d.DeviceCode}, "client_id": {c.ClientID},
		})
		var away *unreachable
		if errors.As(err, &away) || err == nil && status >= 500 {
			interval = min(2*interval, maxInterval)
			continue
		} else if err != nil {
			return "", fmt.Errorf("the identity provider's token endpoint: %w", err)
		}
		token, err := parseToken(status, body)
		var no *Refused
		switch {
		case !errors.As(err, &no):
			return token, err
		case no.Code == "authorization_pending":
		case no.Code == "slow_down":
			interval = min(interval+slowDown, maxInterval)
		case no.Code == "expired_token":
			return "", errors.New("nobody has logged in while the code was good")
		default:
			return "", err
		}
	}
}
