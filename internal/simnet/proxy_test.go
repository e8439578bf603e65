// SPDX-License-Identifier: LGPL-3.0-or-later

package simnet_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/sunbeam-eth/sunbeam/internal/simnet"
)

// echo accepts connections and sends back what it reads.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				io.Copy(conn, conn) //nolint:errcheck // the client hangs up when it likes
			}()
		}
	}()
	return listener.Addr().String()
}

// proxied starts a proxy in front of an echo server.
func proxied(t *testing.T, link simnet.Link) *simnet.Proxy {
	t.Helper()
	proxy, err := simnet.Listen(t.Context(), echo(t), link, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- proxy.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return proxy
}

func dial(t *testing.T, proxy *simnet.Proxy) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", proxy.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

func ping(t *testing.T, conn net.Conn) time.Duration {
	t.Helper()
	start := time.Now()
	if _, err := conn.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	return time.Since(start)
}

func TestProxyDelaysWithoutLimitingThroughput(t *testing.T) {
	const delay = 50 * time.Millisecond
	proxy := proxied(t, simnet.Link{Delay: delay})
	conn := dial(t, proxy)
	if took := ping(t, conn); took < 4*delay {
		t.Errorf("handshake and echo took %v, less than two round trips", took)
	}
	if took := ping(t, conn); took < 2*delay || took > 2*delay+time.Second {
		t.Errorf("echo took %v, want %v", took, 2*delay)
	}

	// 32 MB are 2,000 packets' windows of 16 kB: one window a round trip would be 200 s.
	sent := bytes.Repeat([]byte("0123456789abcdef"), 2<<20)
	start := time.Now()
	go func() {
		conn.Write(sent)  //nolint:errcheck // what arrives is checked
		conn.CloseWrite() //nolint:errcheck // likewise
	}()
	got := sha256.New()
	n, err := io.Copy(got, conn) // ends because closing is forwarded too
	if err != nil || n != int64(len(sent)) {
		t.Fatalf("got %d bytes of %d: %v", n, len(sent), err)
	}
	if want := sha256.Sum256(sent); !bytes.Equal(got.Sum(nil), want[:]) {
		t.Fatal("the bytes changed on the way")
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("32 MB took %v", took)
	}
	if up, down := proxy.Traffic(); up != int64(len(sent))+8 || down != up {
		t.Errorf("traffic %d up, %d down, want %d", up, down, len(sent)+8)
	}
}

func TestProxyBandwidth(t *testing.T) {
	proxy := proxied(t, simnet.Link{Bandwidth: 1 << 20})
	conn := dial(t, proxy)
	start := time.Now()
	go func() {
		conn.Write(make([]byte, 256<<10)) //nolint:errcheck // what arrives is checked
		conn.CloseWrite()                 //nolint:errcheck // likewise
	}()
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 250*time.Millisecond {
		t.Errorf("256 KiB at 1 MiB/s took %v", took)
	}
}

// TestProxiesShareUpload: what the targets of two proxies send shares a bandwidth, what is sent to them does not.
func TestProxiesShareUpload(t *testing.T) {
	upload := simnet.NewUpload(1 << 20)
	start := time.Now()
	var copies sync.WaitGroup
	for range 2 {
		conn := dial(t, proxied(t, simnet.Link{Upload: upload}))
		copies.Go(func() {
			conn.Write(make([]byte, 128<<10)) //nolint:errcheck // what arrives is checked
			conn.CloseWrite()                 //nolint:errcheck // likewise
			if n, err := io.Copy(io.Discard, conn); err != nil || n != 128<<10 {
				t.Errorf("%d bytes, %v", n, err)
			}
		})
	}
	copies.Wait()
	if took := time.Since(start); took < 250*time.Millisecond {
		t.Errorf("256 KiB at 1 MiB/s took %v", took)
	}
}

func TestProxyStallsAndDrops(t *testing.T) {
	proxy := proxied(t, simnet.Link{})
	conn := dial(t, proxy)
	ping(t, conn)

	proxy.Stall(true)
	if _, err := conn.Write([]byte("held")); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 4)); n != 0 || !isTimeout(err) {
		t.Fatalf("stalled, but read %d bytes: %v", n, err)
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	proxy.Stall(false)
	if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}

	if n := proxy.Drop(); n != 1 {
		t.Errorf("dropped %d connections", n)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the connection survived Drop")
	}
	ping(t, dial(t, proxy)) // and new ones are welcome
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
