package main

import "strings"

// maxDiff is how many lines on each side are compared line by line.
const maxDiff = 4000

// lineChanges are the lines that differ between two texts, "- " before what goes
// and "+ " before what comes, by their longest common subsequence.
func lineChanges(before, after string) []string {
	a, b := strings.Split(before, "\n"), strings.Split(after, "\n")
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	var changes []string
	i, j := 0, 0
	if len(a) <= maxDiff && len(b) <= maxDiff {
		common := commonLengths(a, b)
		for i < len(a) && j < len(b) {
			switch {
			case a[i] == b[j]:
				i, j = i+1, j+1
			case common[i+1][j] >= common[i][j+1]:
				changes = append(changes, "- "+a[i])
				i++
			default:
				changes = append(changes, "+ "+b[j])
				j++
			}
		}
	}
	for ; i < len(a); i++ {
		changes = append(changes, "- "+a[i])
	}
	for ; j < len(b); j++ {
		changes = append(changes, "+ "+b[j])
	}
	return changes
}

// commonLengths[i][j] is the length of the longest common subsequence of a[i:] and
// b[j:].
func commonLengths(a, b []string) [][]uint16 {
	lengths := make([][]uint16, len(a)+1)
	for i := range lengths {
		lengths[i] = make([]uint16, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				lengths[i][j] = lengths[i+1][j+1] + 1
			} else {
				lengths[i][j] = max(lengths[i+1][j], lengths[i][j+1])
			}
		}
	}
	return lengths
}
