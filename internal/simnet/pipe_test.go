// SPDX-License-Identifier: LGPL-3.0-or-later

package simnet_test

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	gethp2p "github.com/ethereum/go-ethereum/p2p"

	"github.com/sunbeam-eth/sunbeam/internal/simnet"
)

func send(t *testing.T, w gethp2p.MsgWriter, code uint64, payload string) {
	t.Helper()
	err := w.WriteMsg(gethp2p.Msg{Code: code, Size: uint32(len(payload)), Payload: bytes.NewReader([]byte(payload))})
	if err != nil {
		t.Fatal(err)
	}
}

// expect reads one message and checks what it is and when it came, since start.
func expect(t *testing.T, r gethp2p.MsgReader, start time.Time, code uint64, payload string, at time.Duration) {
	t.Helper()
	msg, err := r.ReadMsg()
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if _, err := got.ReadFrom(msg.Payload); err != nil {
		t.Fatal(err)
	}
	if msg.Code != code || got.String() != payload {
		t.Fatalf("got message %d %q, want %d %q", msg.Code, got.String(), code, payload)
	}
	if took := msg.ReceivedAt.Sub(start); took != at || time.Since(start) != at {
		t.Fatalf("message %q came after %v (stamped %v), want %v", payload, time.Since(start), took, at)
	}
}

func TestPipeDelaysExactly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := simnet.Pipe(simnet.Link{Delay: 50 * time.Millisecond})
		start := time.Now()
		// A hundred messages at once do not wait for each other, nor for a reader.
		for range 100 {
			send(t, a, 1, "ping")
		}
		if d := time.Since(start); d != 0 {
			t.Fatalf("sending took %v", d)
		}
		for range 100 {
			expect(t, b, start, 1, "ping", 50*time.Millisecond)
		}
		// The way back is delayed by itself: a round trip is 100 ms.
		send(t, b, 2, "pong")
		expect(t, a, start, 2, "pong", 100*time.Millisecond)
		if got := a.Sent(); got.Messages != 100 || got.Bytes != 400 {
			t.Fatalf("sent %+v", got)
		}
	})
}

func TestPipeWakesAWaitingReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := simnet.Pipe(simnet.Link{Delay: 50 * time.Millisecond})
		start := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			expect(t, b, start, 0, "late", time.Second+50*time.Millisecond)
		}()
		time.Sleep(time.Second)
		send(t, a, 0, "late")
		<-done
	})
}

func TestPipeBandwidth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := simnet.Pipe(simnet.Link{Delay: 10 * time.Millisecond, Bandwidth: 1000})
		start := time.Now()
		send(t, a, 0, string(make([]byte, 500)))
		send(t, a, 1, string(make([]byte, 250)))
		expect(t, b, start, 0, string(make([]byte, 500)), 510*time.Millisecond)
		expect(t, b, start, 1, string(make([]byte, 250)), 760*time.Millisecond)
	})
}

func TestPipeHookLosesTampersAndDelaysInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := simnet.Pipe(simnet.Link{Delay: time.Millisecond})
		a.SetHook(func(m *simnet.Message) bool {
			switch m.Code {
			case 1:
				return false
			case 2:
				m.Payload[0] ^= 0xff
			case 3:
				m.Delay = time.Second
			}
			return true
		})
		start := time.Now()
		original := []byte{0x0f}
		for code := uint64(1); code <= 4; code++ {
			if err := a.WriteMsg(gethp2p.Msg{Code: code, Size: 1, Payload: bytes.NewReader(original)}); err != nil {
				t.Fatal(err)
			}
		}
		expect(t, b, start, 2, "\xf0", time.Millisecond)
		expect(t, b, start, 3, "\x0f", time.Second+time.Millisecond)
		expect(t, b, start, 4, "\x0f", time.Second+time.Millisecond)
		if original[0] != 0x0f {
			t.Fatal("the sender's payload was changed")
		}
	})
}

func TestPipeStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := simnet.Pipe(simnet.Link{Delay: 10 * time.Millisecond})
		start := time.Now()
		a.Stall(true)
		send(t, a, 0, "held")
		send(t, b, 0, "free") // the other direction is not stalled
		expect(t, a, start, 0, "free", 10*time.Millisecond)
		time.AfterFunc(990*time.Millisecond, func() { a.Stall(false) })
		expect(t, b, start, 0, "held", time.Second)
	})
}

func TestPipeClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := simnet.Pipe(simnet.Link{Delay: time.Hour})
		send(t, a, 0, "lost")
		read := make(chan error, 2)
		for _, end := range []*simnet.End{a, b} {
			go func() {
				_, err := end.ReadMsg()
				read <- err
			}()
		}
		synctest.Wait()
		b.Close()
		for range 2 {
			if err := <-read; !errors.Is(err, gethp2p.ErrPipeClosed) {
				t.Fatalf("read: %v", err)
			}
		}
		if err := a.WriteMsg(gethp2p.Msg{Payload: bytes.NewReader(nil)}); !errors.Is(err, gethp2p.ErrPipeClosed) {
			t.Fatalf("write: %v", err)
		}
	})
}
