// SPDX-License-Identifier: LGPL-3.0-or-later

package simnet

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"

	gethp2p "github.com/ethereum/go-ethereum/p2p"
)

// Message is a devp2p message under way.
type Message struct {
	Code    uint64
	Payload []byte        // RLP
	Delay   time.Duration // added to the link's delay; later messages do not overtake it
}

// Hook sees each message that an end sends and may change it. The message is lost if it
// returns false. Hooks run in the sender's goroutine, one at a time for each end, and
// must not use the end that they are set on.
type Hook func(*Message) (deliver bool)

// Traffic counts what was sent.
type Traffic struct {
	Messages uint64
	Bytes    uint64 // payloads only
}

// End is one end of a link in memory. It implements gethp2p.MsgReadWriter; its methods
// may be called concurrently. Unlike on a gethp2p.MsgPipe a write does not wait for
// the reader.
type End struct {
	in, out *queue[Message]

	mu    sync.Mutex
	pacer pacer // of out
	hook  Hook
	sent  Traffic
}

// Pipe returns the two ends of a link.
func Pipe(link Link) (*End, *End) {
	ab, ba := new(queue[Message]), new(queue[Message])
	a := &End{in: ba, out: ab, pacer: pacer{link: link}}
	b := &End{in: ab, out: ba, pacer: pacer{link: link}}
	return a, b
}

// WriteMsg sends a copy of msg. It returns gethp2p.ErrPipeClosed after Close.
func (e *End) WriteMsg(msg gethp2p.Msg) error {
	payload := make([]byte, msg.Size)
	if _, err := io.ReadFull(msg.Payload, payload); err != nil {
		return fmt.Errorf("message %#x: payload of %d bytes: %w", msg.Code, msg.Size, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sent.Messages++
	e.sent.Bytes += uint64(len(payload))
	m := Message{Code: msg.Code, Payload: payload}
	if e.hook != nil && !e.hook(&m) {
		return nil
	}
	if !e.out.push(m, e.pacer.due(time.Now(), len(m.Payload), m.Delay)) {
		return gethp2p.ErrPipeClosed
	}
	return nil
}

// ReadMsg waits for the next message to arrive. It returns gethp2p.ErrPipeClosed after
// Close.
func (e *End) ReadMsg() (gethp2p.Msg, error) {
	m, ok := e.in.pop()
	if !ok {
		return gethp2p.Msg{}, gethp2p.ErrPipeClosed
	}
	return gethp2p.Msg{
		Code:       m.Code,
		Size:       uint32(len(m.Payload)),
		Payload:    bytes.NewReader(m.Payload),
		ReceivedAt: time.Now(),
	}, nil
}

// SetHook puts a hook on what this end sends; nil takes it away.
func (e *End) SetHook(hook Hook) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hook = hook
}

// Stall holds back what this end sends, or lets it go on.
func (e *End) Stall(on bool) { e.out.stall(on) }

// Sent counts what was written to this end, whether or not a hook let it through.
func (e *End) Sent() Traffic {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.sent
}

// Close breaks the link for both ends. What is under way is lost.
func (e *End) Close() {
	e.in.close()
	e.out.close()
}
