package main

import "errors"

// fileVerdict is what the check of a file says, for -o; a table has the same as
// messages.
type fileVerdict struct {
	File     string   `json:"file"`
	OK       bool     `json:"ok"`
	Faults   []string `json:"faults"`
	Warnings []string `json:"warnings"`
}

// judged prints what a check has found and passes on its error. A file that could
// not be checked has no verdict.
func (a *app) judged(file string, warnings []string, err error) error {
	var f *failure
	if a.format == "table" || err != nil && (!errors.As(err, &f) || f.code != exitFound) {
		return err
	}
	v := fileVerdict{File: file, OK: err == nil, Faults: []string{}, Warnings: append([]string{}, warnings...)}
	if f != nil {
		if v.Faults = f.detail; len(v.Faults) == 0 {
			v.Faults = []string{f.text}
		}
	}
	r := rows{columns: columnsOf("file", "kind", "text")}
	for _, each := range []struct {
		kind  string
		texts []string
	}{{"fault", v.Faults}, {"warning", v.Warnings}} {
		for _, text := range each.texts {
			r.add(text, file, each.kind, text)
		}
	}
	return errors.Join(a.print(v, r), err)
}
