package login

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxToken is the most octets of an ID token: what the CA's server reads.
const maxToken = 8 << 10

// checkToken makes sure that the ID token is the answer to this login (OpenID
// Connect Core 1.0 §3.1.3.7): of this issuer, for this client and, if there was
// one, with this nonce. It came from the token endpoint over TLS; its signature is
// verified by the server that it is for.
func checkToken(token, issuer, client, nonce string) error {
	if len(token) > maxToken {
		return fmt.Errorf("the ID token has %d octets, and the server reads %d: have the provider send fewer claims, such as groups", len(token), maxToken)
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return errors.New("the ID token is none")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return errors.New("the ID token is none")
	}
	var claims struct {
		Issuer   string   `json:"iss"`
		Audience audience `json:"aud"`
		Nonce    string   `json:"nonce"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return errors.New("the ID token is none")
	}
	switch {
	case claims.Issuer != issuer:
		return errors.New("the ID token is of another issuer")
	case !slices.Contains(claims.Audience, client):
		return errors.New("the ID token is for another client")
	case nonce != "" && subtle.ConstantTimeCompare([]byte(claims.Nonce), []byte(nonce)) != 1:
		return errors.New("the ID token is not of the login that was begun here (nonce)")
	}
	return nil
}

// audience is a text or a list of texts.
type audience []string

// UnmarshalJSON implements json.Unmarshaler.
func (a *audience) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*a = audience{one}
		return nil
	}
	var list []string
	err := json.Unmarshal(data, &list)
	*a = list
	return err
}
