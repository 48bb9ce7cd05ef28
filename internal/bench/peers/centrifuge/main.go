// Command centrifuge is Centrifuge with what it has by itself: rooms in memory, JSON over
// WebSocket. It is a module of its own, so that the server's has none of what it needs.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/centrifugal/centrifuge"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "centrifuge:", err)
		os.Exit(1)
	}
}

func run() error {
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		return fmt.Errorf("making a node: %w", err)
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{}}, nil
	})
	node.OnConnect(func(c *centrifuge.Client) {
		c.OnSubscribe(func(_ centrifuge.SubscribeEvent, answer centrifuge.SubscribeCallback) {
			answer(centrifuge.SubscribeReply{}, nil)
		})
		c.OnPublish(func(_ centrifuge.PublishEvent, answer centrifuge.PublishCallback) {
			answer(centrifuge.PublishReply{}, nil)
		})
	})
	if err := node.Run(); err != nil {
		return fmt.Errorf("running it: %w", err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	web := &http.Server{Handler: centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{}), ReadHeaderTimeout: time.Minute}
	fmt.Println("ws://" + l.Addr().String() + "/")
	go answer()
	return web.Serve(l)
}

// answer says what this process has used, for each line it reads, and ends it with the input.
func answer() {
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if in.Text() == "rest" {
			debug.FreeOSMemory()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		var u syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		var pages int64
		if b, err := os.ReadFile("/proc/self/statm"); err == nil {
			_, _ = fmt.Sscanf(string(b), "%d %d", new(int64), &pages)
		}
		_ = json.NewEncoder(os.Stdout).Encode(map[string]int64{"CPU": u.Utime.Nano() + u.Stime.Nano(), "Goroutines": int64(runtime.NumGoroutine()),
			"Memory": int64(m.HeapInuse + m.StackInuse), "Resident": pages * int64(os.Getpagesize())})
	}
	os.Exit(0)
}
