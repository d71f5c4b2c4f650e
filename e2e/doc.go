// Package e2e holds journeys against the real binary: real processes, real
// sockets, real kills, and the tools that other people use (openssl, curl). Its
// tests build the binary first.
package e2e
