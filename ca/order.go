//go:build !negativecontrol

package ca

// inOrder is the store itself: what Commit acknowledges is durable, so that the
// intent is in the ledger before the key signs. Its twin behind the build tag
// breaks exactly this, to prove that the crash test notices.
func inOrder(s Store) Store { return s }
