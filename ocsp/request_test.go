package ocsp

import (
	"bytes"
	"testing"

	xocsp "golang.org/x/crypto/ocsp"
)

// someID is a CertID; parts may be replaced.
func someID(algorithm, serial []byte) []byte {
	return sequence(algorithm, octets(bytes.Repeat([]byte{1}, 20)), octets(bytes.Repeat([]byte{2}, 20)), serial)
}

func octets(b []byte) []byte {
	if len(b) < 128 {
		return append([]byte{4, byte(len(b))}, b...)
	}
	return append([]byte{4, 0x82, byte(len(b) >> 8), byte(len(b))}, b...)
}

func TestParseRequest(t *testing.T) {
	sha1Algorithm, serial := sequence(oidSHA1, null), []byte{2, 2, 0x12, 0x34}
	id := someID(sha1Algorithm, serial)
	unknownOID := []byte{6, 3, 0x2a, 0x03, 0x04}
	ids := func(n int) (list [][]byte) {
		for range n {
			list = append(list, id)
		}
		return list
	}
	signature := sequence(sequence(oidECDSA2), []byte{3, 3, 0, 1, 2})
	for _, test := range []struct {
		name string
		m    message
		ok   bool
	}{
		{"plain", message{ids: ids(1)}, true},
		{"no CertID", message{}, false},
		{"32 CertIDs", message{ids: ids(32)}, true},
		{"33 CertIDs", message{ids: ids(33)}, false},
		{"version 1", message{ids: ids(1), version: []byte{2, 1, 0}}, true},
		{"version 2", message{ids: ids(1), version: []byte{2, 1, 1}}, false},
		{"version, no number", message{ids: ids(1), version: []byte{5, 0}}, false},
		{"requestor", message{ids: ids(1), name: []byte{0xa4, 2, 0x30, 0}}, true},
		{"signed", message{ids: ids(1), name: []byte{0xa4, 2, 0x30, 0}, signature: signature}, true},
		{"signed, with certificates", message{ids: ids(1), signature: sequence(sequence(oidECDSA2), []byte{3, 3, 0, 1, 2}, []byte{0xa0, 2, 0x30, 0})}, true},
		{"signed, no signature", message{ids: ids(1), signature: sequence(sequence(oidECDSA2))}, false},
		{"signed, garbage", message{ids: ids(1), signature: []byte{0x30}}, false},
		{"nonce of 1", message{ids: ids(1), nonce: []byte{0}}, true},
		{"nonce of 128", message{ids: ids(1), nonce: make([]byte, 128)}, true},
		{"nonce of 129", message{ids: ids(1), nonce: make([]byte, 129)}, false},
		{"nonce of 0", message{ids: ids(1), nonce: []byte{}}, false},
		{"nonce that is no OCTET STRING", message{ids: ids(1), extensions: [][]byte{extension(oidNonce, false, []byte{1, 2, 3, 4})}}, false},
		{"nonce with more behind it", message{ids: ids(1), extensions: [][]byte{extension(oidNonce, false, []byte{4, 1, 7, 0})}}, false},
		{"two nonces", message{ids: ids(1), nonce: []byte{1}, extensions: [][]byte{extension(oidNonce, false, []byte{4, 1, 7})}}, false},
		{"critical nonce", message{ids: ids(1), extensions: [][]byte{extension(oidNonce, true, []byte{4, 1, 7})}}, true},
		{"a nonce of a single request", message{ids: ids(1), single: sequence(extension(oidNonce, false, nil))}, true},
		{"a critical nonce of a single request", message{ids: ids(1), single: sequence(extension(oidNonce, true, []byte{4, 1, 7}))}, false},
		{"unknown extension", message{ids: ids(1), extensions: [][]byte{extension(unknownOID, false, []byte{9})}}, true},
		{"critical unknown extension", message{ids: ids(1), extensions: [][]byte{extension(unknownOID, true, []byte{9})}}, false},
		{"critical unknown single extension", message{ids: ids(1), single: sequence(extension(unknownOID, true, nil))}, false},
		{"unknown single extension", message{ids: ids(1), single: sequence(extension(unknownOID, false, nil))}, true},
		{"no extensions in the list", message{ids: ids(1), emptyList: true}, false},
		{"critical acceptable responses", message{ids: ids(1), extensions: [][]byte{extension(oidAccept, true, sequence(unknownOID, oidBasic))}}, true},
		{"critical acceptable responses without basic", message{ids: ids(1), extensions: [][]byte{extension(oidAccept, true, sequence(unknownOID))}}, false},
		{"acceptable responses without basic", message{ids: ids(1), extensions: [][]byte{extension(oidAccept, false, sequence(unknownOID))}}, true},
		{"no NULL", message{ids: [][]byte{someID(sequence(oidSHA1), serial)}}, true},
		{"other parameters", message{ids: [][]byte{someID(sequence(oidSHA1, []byte{4, 0}), serial)}}, false},
		{"unknown hash", message{ids: [][]byte{someID(sequence(unknownOID, []byte{4, 0}), serial)}}, true},
		{"empty OID", message{ids: [][]byte{someID(sequence([]byte{6, 0}), serial)}}, false},
		{"empty serial", message{ids: [][]byte{someID(sha1Algorithm, []byte{2, 0})}}, false},
		{"padded serial", message{ids: [][]byte{someID(sha1Algorithm, []byte{2, 2, 0, 1})}}, false},
		{"padded negative serial", message{ids: [][]byte{someID(sha1Algorithm, []byte{2, 2, 0xff, 0x80})}}, false},
		{"negative serial", message{ids: [][]byte{someID(sha1Algorithm, []byte{2, 1, 0xff})}}, true},
		{"serial of another type", message{ids: [][]byte{someID(sha1Algorithm, []byte{4, 1, 1})}}, false},
		{"too long", message{ids: ids(1), extensions: [][]byte{extension(unknownOID, false, make([]byte, 4096))}}, false},
	} {
		der := build(t, test.m)
		var r request
		if ok := r.parse(der); ok != test.ok {
			t.Errorf("%s: %t, not %t", test.name, ok, test.ok)
		} else if ok && (len(r.ids) != len(test.m.ids) || !bytes.Equal(r.ids[0].raw, test.m.ids[0])) {
			t.Errorf("%s: %d CertIDs, the first %x", test.name, len(r.ids), r.ids[0].raw)
		}
		if r.parse(append(der, 0)) {
			t.Errorf("%s: with an octet behind it", test.name)
		}
		if test.ok { // no part of it is a request
			for n := range der {
				if r.parse(der[:n]) {
					t.Errorf("%s: the first %d octets alone", test.name, n)
				}
			}
		}
	}
}

func TestMalformedIsAnswered(t *testing.T) {
	tn := found(t, "ecdsa-p256", nil)
	for name, der := range map[string][]byte{
		"nothing": nil, "text": []byte("hello"), "zeros": make([]byte, 4096), "deep": bytes.Repeat([]byte{0x30, 0x80}, 2000),
		"long length": {0x30, 0x84, 0xff, 0xff, 0xff, 0xff}, "a response": xocsp.TryLaterErrorResponse,
	} {
		w := tn.postForTest(der)
		if w.Code != 200 || !bytes.Equal(w.Body.Bytes(), xocsp.MalformedRequestErrorResponse) || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %x %v", name, w.Code, w.Body.Bytes(), w.Header())
		}
	}
	if s := tn.Stats(); s.Malformed != 6 || s.Good+s.Revoked+s.Unknown+s.Refused != 0 {
		t.Errorf("%+v", s)
	}
}
