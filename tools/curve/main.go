// Command curve draws what BenchmarkCurve measured: cost against the number of
// certificates, as SVG. Each panel has its own scale from zero; what is flat in it is
// flat.
//
//	go run . ../../docs/growth.csv > ../../docs/growth.svg
package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: curve FILE.csv > FILE.svg")
		os.Exit(2)
	}
	f, err := os.Open(os.Args[1])
	if err == nil {
		err = draw(os.Stdout, f)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "curve:", err)
		os.Exit(1)
	}
}

// table is the file: the first column is the number of certificates.
type table struct {
	columns []string
	rows    [][]float64
}

func read(r io.Reader) (table, error) {
	lines, err := csv.NewReader(r).ReadAll()
	if err != nil {
		return table{}, err
	}
	if len(lines) < 3 || len(lines[0]) < 2 {
		return table{}, fmt.Errorf("two points at least are needed, %d lines are there", len(lines))
	}
	t := table{columns: lines[0]}
	for _, line := range lines[1:] {
		row := make([]float64, len(line))
		for i, field := range line {
			if row[i], err = strconv.ParseFloat(field, 64); err != nil {
				return table{}, err
			}
			if row[i] < 0 || i == 0 && row[i] < 1 || math.IsInf(row[i], 0) || math.IsNaN(row[i]) {
				return table{}, fmt.Errorf("%s is no measure", field)
			}
		}
		t.rows = append(t.rows, row)
	}
	return t, nil
}

// titles are what the columns are called in the picture.
var titles = map[string]string{
	"issue_v":      "Authority.Issue, V (CPU of one P-256 verification)",
	"issue_p50_ms": "Authority.Issue one by one, p50, ms",
	"grpc_v":       "SignCertificate over gRPC, 64 in flight, V",
	"bytes":        "octets on disk per certificate",
	"ready_s":      "start until ready, s",
	"rss_anon_mb":  "anonymous memory while serving, MB",
}

// The picture's measures.
const (
	width, height = 420, 190 // of a panel
	left, right   = 52, 16
	top, bottom   = 30, 34
	across        = 2 // panels
)

func draw(w io.Writer, r io.Reader) error {
	t, err := read(r)
	if err != nil {
		return err
	}
	panels := len(t.columns) - 1
	down := (panels + across - 1) / across
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n", across*width, down*height)
	b.WriteString(`<rect width="100%" height="100%" fill="#fff"/>` + "\n")
	for i := range panels {
		fmt.Fprintf(&b, `<g transform="translate(%d %d)">`+"\n", i%across*width, i/across*height)
		t.panel(&b, i+1)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	_, err = io.WriteString(w, b.String())
	return err
}

// panel draws one column over the logarithm of the first.
func (t table) panel(b *strings.Builder, column int) {
	title := t.columns[column]
	if known, ok := titles[title]; ok {
		title = known
	}
	first, last := t.rows[0][0], t.rows[len(t.rows)-1][0]
	most := 0.0
	for _, row := range t.rows {
		most = max(most, row[column])
	}
	most = nice(most)
	x := func(n float64) float64 {
		return left + (width-left-right)*(math.Log(n)-math.Log(first))/max(math.Log(last)-math.Log(first), 1e-9)
	}
	y := func(v float64) float64 { return height - bottom - (height-top-bottom)*v/most }
	fmt.Fprintf(b, `<text x="%d" y="18" font-weight="bold">%s</text>`+"\n", left, title)
	for _, part := range []float64{0, 0.5, 1} {
		at := y(part * most)
		fmt.Fprintf(b, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			left, at, width-right, left-6, at+4, short(part*most))
	}
	var points strings.Builder
	for _, row := range t.rows {
		fmt.Fprintf(&points, "%.1f,%.1f ", x(row[0]), y(row[column]))
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="#1a5fb4"><title>%s: %s</title></circle>`+"\n",
			x(row[0]), y(row[column]), short(row[0]), short(row[column]))
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle" fill="#555">%s</text>`+"\n", x(row[0]), height-bottom+16, short(row[0]))
	}
	fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="#1a5fb4" stroke-width="1.5"/>`+"\n", strings.TrimSpace(points.String()))
}

// nice is the next of 1, 2, 5, 10, 20 … that is not less.
func nice(v float64) float64 {
	if v <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, step := range []float64{1, 2, 5} {
		if v <= step*unit {
			return step * unit
		}
	}
	return 10 * unit
}

// short is a number with k and M.
func short(v float64) string {
	switch {
	case v >= 999_500:
		return trim(v/1e6) + "M"
	case v >= 1000:
		return trim(v/1e3) + "k"
	}
	return trim(v)
}

func trim(v float64) string {
	text := strconv.FormatFloat(v, 'g', 3, 64)
	if strings.Contains(text, "e") {
		text = strconv.FormatFloat(v, 'f', 0, 64)
	}
	return text
}
