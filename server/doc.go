// Package server puts the rooms together: it opens the data folder, the keys, the
// store and the authority, listens, and ends everything in order.
//
// Its own packages: config (the configuration), datadir (the data folder), setup
// (a new CA: the development bootstrap and the production ceremony).
package server
