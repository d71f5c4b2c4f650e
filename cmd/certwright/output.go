package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"
)

// formats are the values of -o.
var formats = []string{"table", "wide", "json", "yaml", "name", "csv"}

// outputFlag gives a command -o.
func (a *app) outputFlag(cmd *cobra.Command) {
	cmd.Flags().VarP((*formatFlag)(&a.format), "output", "o", strings.Join(formats, "|"))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
}

type formatFlag string

func (f *formatFlag) Set(value string) error {
	for _, known := range formats {
		if value == known {
			*f = formatFlag(value)
			return nil
		}
	}
	return fmt.Errorf("it is one of %s", strings.Join(formats, ", "))
}

func (f *formatFlag) Type() string { return "format" }

func (f *formatFlag) String() string {
	if *f == "" {
		*f = "table"
	}
	return string(*f)
}

// column is one column of a table. Wide ones are shown by -o wide and csv only;
// those of text keep their lines in a portrait.
type column struct {
	title      string
	wide, text bool
}

// rows are data in columns. names are what -o name prints, one a row. With
// portrait, a table shows a row as lines of "title  value".
type rows struct {
	columns  []column
	cells    [][]string
	names    []string
	portrait bool
}

func (r *rows) add(name string, cells ...string) {
	r.names = append(r.names, name)
	r.cells = append(r.cells, cells)
}

// columnsOf makes columns of titles; "+" before one makes it wide, "|" (after that)
// text.
func columnsOf(titles ...string) []column {
	var columns []column
	for _, title := range titles {
		name, wide := strings.CutPrefix(title, "+")
		name, text := strings.CutPrefix(name, "|")
		columns = append(columns, column{title: name, wide: wide, text: text})
	}
	return columns
}

// print writes data to standard output in the format of -o. doc is what json and
// yaml show: a proto message, whose JSON is protojson, or any Go value.
func (a *app) print(doc any, r rows) error {
	switch a.format {
	case "json", "yaml":
		text, err := document(doc)
		if err != nil {
			return err
		}
		if a.format == "yaml" {
			if text, err = asYAML(text); err != nil {
				return err
			}
		}
		_, err = a.out.Write(text)
		return err
	case "name":
		for _, name := range r.names {
			if _, err := fmt.Fprintln(a.out, printable(name)); err != nil {
				return err
			}
		}
		return nil
	case "csv":
		return a.printCSV(r)
	case "wide":
		return a.printTable(r, true)
	default:
		return a.printTable(r, false)
	}
}

// document is doc as indented JSON, the same bytes for the same message: protojson
// alone varies its white space on purpose. Empty lists and zeros are written, so
// that a script finds every field.
func document(doc any) ([]byte, error) {
	var raw []byte
	var err error
	if message, ok := doc.(proto.Message); ok {
		raw, err = protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(message)
	} else {
		raw, err = json.Marshal(doc)
	}
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return jsonSafe(b.Bytes()), nil
}

// asYAML is a JSON document in YAML's own style. One with characters that YAML
// would write as they are, and a terminal obey, stays JSON, which is YAML too.
func asYAML(doc []byte) ([]byte, error) {
	text, err := yaml.JSONToYAML(doc)
	if err != nil {
		return nil, err
	}
	if bytes.IndexFunc(text, func(r rune) bool { return r != '\n' && unsafe(r) }) >= 0 {
		return doc, nil
	}
	return text, nil
}

func (a *app) printCSV(r rows) error {
	w := csv.NewWriter(a.out)
	header := make([]string, len(r.columns))
	for i, c := range r.columns {
		header[i] = strings.ReplaceAll(strings.ToLower(c.title), " ", "_")
	}
	if err := w.Write(header); err != nil {
		return err
	}
	for _, cells := range r.cells {
		safe := make([]string, len(cells))
		for i, cell := range cells {
			safe[i] = csvCell(cell)
		}
		if err := w.Write(safe); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

func (a *app) printTable(r rows, wide bool) error {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header = text.FormatUpper
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	if r.portrait {
		a.portrait(t, r, wide)
	} else {
		header := table.Row{}
		for _, c := range r.columns {
			if !c.wide || wide {
				header = append(header, c.title)
			}
		}
		t.AppendHeader(header)
		for _, cells := range r.cells {
			row := table.Row{}
			for i, cell := range cells {
				if !r.columns[i].wide || wide {
					row = append(row, a.paint(printable(cell)))
				}
			}
			t.AppendRow(row)
		}
	}
	_, err := fmt.Fprintln(a.out, t.Render())
	return err
}

func (a *app) portrait(t table.Writer, r rows, wide bool) {
	for n, cells := range r.cells {
		if n > 0 {
			t.AppendRow(table.Row{""})
		}
		for i, cell := range cells {
			switch c := r.columns[i]; {
			case cell == "" || c.wide && !wide:
			case c.text:
				t.AppendRow(table.Row{capital(c.title), printableLines(strings.TrimSpace(cell))})
			default:
				t.AppendRow(table.Row{capital(c.title), a.paint(printable(cell))})
			}
		}
	}
}

// counted is a number of things: "1 case", "2 cases".
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// capital is a title as a portrait shows it.
func capital(title string) string {
	if title == "" {
		return ""
	}
	if rest, ok := strings.CutSuffix(title, " id"); ok {
		title = rest + " ID"
	}
	return strings.ToUpper(title[:1]) + title[1:]
}

// paint colours the words for states, on a terminal only.
func (a *app) paint(cell string) string {
	if !a.colour() {
		return cell
	}
	switch cell {
	case "issued", "active", "allowed", "ok", "good":
		return "\x1b[32m" + cell + "\x1b[0m"
	case "reserved", "prepared", "used_up", "expired", "superseded", "retired":
		return "\x1b[33m" + cell + "\x1b[0m"
	case "revoked", "abandoned", "denied", "failed", "tainted":
		return "\x1b[31m" + cell + "\x1b[0m"
	}
	return cell
}

// write puts a text of lines, such as PEM, on standard output: byte for byte into
// a pipe or file, without what would steer a terminal onto one.
func (a *app) write(text string) error {
	if a.outIsTerminal() {
		text = printableLines(text)
	}
	_, err := io.WriteString(a.out, text)
	return err
}
