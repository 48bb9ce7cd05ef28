package main

import (
	"context"
	"os"
	"time"
)

// endWithMake ends a server that make started when make is killed and cannot
// say so: a parent that changes was lost.
func endWithMake(cancel context.CancelFunc) {
	if os.Getenv("MAKELEVEL") == "" {
		return
	}
	parent := os.Getppid()
	go func() { // for the life of the process
		for os.Getppid() == parent {
			time.Sleep(time.Second)
		}
		cancel()
	}()
}
