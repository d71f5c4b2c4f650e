package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/certwright/certwright/policy/strict"
	"github.com/certwright/certwright/problem"
)

// maxFile is the largest configuration file that is read, in bytes.
const maxFile = 1 << 20

// apply reads the YAML document data, which was found in the data folder or
// named, into the configuration. All faults are reported, each with file, line, key
// and, of an unknown one, the nearest known key.
func (s *Settings) apply(data []byte, inData bool) error {
	read := strict.Read(s.File, data, maxFile, &s.Config)
	if inData && read.Line("data") > 0 {
		read.Fault("data", strict.Fault{Detail: "this file was found in the data folder", Help: "set data by --data or CERTWRIGHT_DATA"})
	}
	for _, each := range settings() {
		if line := read.Line(each.key); line > 0 {
			s.sources[each.key] = fmt.Sprintf("%s:%d", s.File, line)
		}
	}
	if read.Line("data") > 0 && !filepath.IsAbs(s.Config.Data) {
		s.Config.Data = filepath.Join(filepath.Dir(s.File), s.Config.Data)
	}
	if err := read.Err(); err != nil {
		return lines(err)
	}
	return nil
}

// lines makes one error of each violation, so that each stands on its own line.
func lines(err error) error {
	var p *problem.Problem
	if !errors.As(err, &p) || len(p.Violations) == 0 {
		return err
	}
	each := make([]error, 0, len(p.Violations))
	for _, v := range p.Violations {
		text := v.Rule + ": " + v.Detail
		for _, more := range []string{v.Help, v.Allowed} {
			if more != "" {
				text += "; " + more
				break
			}
		}
		each = append(each, errors.New(text))
	}
	return errors.Join(each...)
}

// didYouMean names the known key that is nearest, or says nothing if none is
// near.
func didYouMean(key string, known []string) string {
	return asHint("", nearestOf(key, known))
}

func nearestOf(key string, known []string) string {
	if near := strict.Nearest(key, known); near != "" {
		return near
	}
	return nearestEnd(key, known)
}

func asHint(prefix, near string) string {
	if near == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s%s?", prefix, near)
}

// nearestEnd finds "log.level" for "level".
func nearestEnd(key string, known []string) string {
	for _, each := range known {
		if strings.HasSuffix(each, "."+key) {
			return each
		}
	}
	return ""
}
