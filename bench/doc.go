// Package bench measures Certwright over real sockets. Its unit is V: the CPU
// time of one ECDSA P-256 verification, measured just before and after each
// benchmark in the same process; a server's cost in V holds on machines of other
// speeds. docs/performance.md has the figures and says how to repeat them.
package bench
