package config

import (
	"fmt"
	"path/filepath"
	"strings"
)

// inState is where in the state folder the certificates are whose folder is not set.
const inState = "certificates"

// checkFolders wants folders that are apart: what one certificate tidies away must not
// be another's, nor the agent's own.
func (c *Config) checkFolders(f faults, dir string) {
	state := absolute(dir, c.State)
	places := make([]string, len(c.Certificates))
	for i := range c.Certificates {
		each := &c.Certificates[i]
		path := fmt.Sprintf("certificates[%d].folder", i)
		if places[i] = filepath.Join(state, inState, each.Name); each.Folder != "" {
			places[i] = absolute(dir, each.Folder)
			if own := filepath.Join(state, inState); within(places[i], state) && (places[i] == own || !within(places[i], own)) {
				f.say(path, each.Folder, "a folder outside of "+state, "the folder is the agent's state folder, or in it")
				continue
			}
		}
		for j, other := range places[:i] {
			switch {
			case c.Certificates[j].Name == each.Name && c.Certificates[j].Folder == "" && each.Folder == "":
				// The name is refused already.
			case places[i] == other:
				f.say(path, each.Folder, "each once", "two certificates have this folder")
			case within(places[i], other):
				f.say(path, each.Folder, "folders apart", "it is inside the folder of certificate %.64q", c.Certificates[j].Name)
			case within(other, places[i]):
				f.say(path, each.Folder, "folders apart", "the folder of certificate %.64q is inside it", c.Certificates[j].Name)
			}
		}
	}
}

// within tells whether a clean path is another one or inside it.
func within(path, other string) bool {
	return path == other || strings.HasPrefix(path, strings.TrimSuffix(other, "/")+"/")
}

func absolute(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}
