package identity

import "encoding/base64"

// CertID names a certificate of an issuer, whose key identifier is given (RFC 9773
// §4.1): both in base64url, a dot between them, the serial as the content octets of
// a DER INTEGER.
func CertID(keyIdentifier []byte, serial Serial) string {
	number := serial.Big().Bytes()
	if len(number) > 0 && number[0]&0x80 != 0 {
		number = append([]byte{0}, number...)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return encode(keyIdentifier) + "." + encode(number)
}
