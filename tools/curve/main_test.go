package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestDraw(t *testing.T) {
	var out strings.Builder
	data := "certificates,issue_v,bytes,other\n1000,8.5,1900,0\n30000,8.4,1850,0\n1000000,9.1,1800,0\n"
	if err := draw(&out, strings.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	d := xml.NewDecoder(strings.NewReader(out.String()))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, out.String())
		}
	}
	if n := strings.Count(out.String(), "<circle"); n != 9 {
		t.Errorf("%d points are drawn, 9 are measured", n)
	}
	for _, want := range []string{"Authority.Issue", "octets on disk", ">other<", ">1k<", ">30k<", ">1M<", "1M: 9.1"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s is not in the picture", want)
		}
	}
}

func TestDrawRefuses(t *testing.T) {
	for name, data := range map[string]string{
		"nothing": "", "one point": "certificates,a\n1,1\n", "a word": "certificates,a\n1,1\n2,x\n", "no numbers": "certificates\n1\n2\n",
		"too few fields": "certificates,a\n1,1\n2\n", "less than nothing": "certificates,a\n1,1\n2,-1\n", "no certificate": "certificates,a\n0,1\n2,1\n",
		"infinity": "certificates,a\n1,1\n2,Inf\n",
	} {
		var out strings.Builder
		if err := draw(&out, strings.NewReader(data)); err == nil || out.Len() > 0 {
			t.Errorf("%s: drawn %q", name, out.String())
		}
	}
}
