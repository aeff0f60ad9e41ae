//go:build later

// Pins what the pubsub tests will need, so that adding them moves no version.
package main

import _ "github.com/libp2p/go-libp2p-pubsub"
