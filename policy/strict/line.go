package strict

// Line is where the key at the path stands in the file, from 1; 0 if it does not.
func (r *Reader) Line(path string) int { return r.lines[path] }
