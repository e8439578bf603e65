// SPDX-License-Identifier: LGPL-3.0-or-later

package simnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

// chunkBytes is the most that is read from a connection at once.
const chunkBytes = 64 << 10

// windowBytes bounds what is under way in one direction of one connection, as TCP's
// window does: at 50 ms one way it allows 1.3 GB/s.
const windowBytes = 64 << 20

// Proxy puts a link between TCP clients and a target: what goes through arrives
// Link.Delay later. Opening a connection costs a round trip, as TCP's handshake does.
type Proxy struct {
	target   string
	link     Link
	log      *slog.Logger
	listener net.Listener

	up, down atomic.Int64 // bytes forwarded to and from the target

	mu       sync.Mutex
	stalled  bool
	sessions map[*session]struct{}
}

// session is one forwarded connection.
type session struct {
	client, server net.Conn // server is nil until it is dialled
	up, down       *queue[[]byte]
}

// Listen opens a loopback port in front of target (host:port). Nothing is accepted
// before Run.
func Listen(ctx context.Context, target string, link Link, log *slog.Logger) (*Proxy, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("delay proxy: %w", err)
	}
	return &Proxy{
		target:   target,
		link:     link,
		log:      log,
		listener: listener,
		sessions: make(map[*session]struct{}),
	}, nil
}

// Addr is the address (host:port) that clients connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Traffic returns the bytes that were handed on to the target and from it.
func (p *Proxy) Traffic() (toTarget, fromTarget int64) { return p.up.Load(), p.down.Load() }

// Stall holds back all bytes of all connections, or lets them go on.
func (p *Proxy) Stall(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = on
	for s := range p.sessions {
		s.up.stall(on)
		s.down.stall(on)
	}
}

// Drop closes all connections and returns how many there were. New ones are accepted.
func (p *Proxy) Drop() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := range p.sessions {
		s.close()
	}
	return len(p.sessions)
}

// Run accepts and forwards until ctx ends. It closes the port.
func (p *Proxy) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { p.listener.Close() })
	defer stop()
	var running sync.WaitGroup
	defer running.Wait()
	for {
		client, err := p.listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("delay proxy: %w", err)
		}
		running.Go(func() {
			if err := p.forward(ctx, client); err != nil {
				p.log.Debug("Delay proxy lost a connection", "target", p.target, "err", err)
			}
		})
	}
}

func (p *Proxy) forward(ctx context.Context, client net.Conn) error {
	s := &session{client: client, up: new(queue[[]byte]), down: new(queue[[]byte])}
	p.add(s)
	defer p.remove(s)
	stop := context.AfterFunc(ctx, func() { p.closeSession(s) })
	defer stop()

	handshake := time.NewTimer(2 * p.link.Delay)
	defer handshake.Stop()
	select {
	case <-handshake.C:
	case <-ctx.Done():
		return nil
	}
	server, err := new(net.Dialer).DialContext(ctx, "tcp", p.target)
	if err != nil {
		return err
	}
	p.setServer(s, server)

	group, ctx := errgroup.WithContext(ctx)
	up := p.link
	up.Upload = nil
	p.pump(ctx, group, s, s.up, up, client, server, &p.up)
	p.pump(ctx, group, s, s.down, p.link, server, client, &p.down)
	if err := group.Wait(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// pump forwards one direction through its queue: one goroutine stamps, one delivers.
func (p *Proxy) pump(ctx context.Context, group *errgroup.Group, s *session, l *queue[[]byte], link Link, from, to net.Conn, count *atomic.Int64) {
	window := semaphore.NewWeighted(windowBytes)
	group.Go(func() error {
		pace := pacer{link: link}
		for {
			if err := window.Acquire(ctx, chunkBytes); err != nil {
				return nil //nolint:nilerr // the other half gave the reason
			}
			buf := make([]byte, chunkBytes)
			n, err := from.Read(buf)
			if n > 0 {
				l.push(buf[:n], pace.due(time.Now(), n, 0))
			} else {
				window.Release(chunkBytes)
			}
			if errors.Is(err, io.EOF) {
				l.end()
				return nil
			} else if err != nil {
				p.closeSession(s)
				return err
			}
		}
	})
	group.Go(func() error {
		for {
			chunk, ok := l.pop()
			if !ok {
				if c, ok := to.(*net.TCPConn); ok {
					c.CloseWrite() //nolint:errcheck // it may be closed already
				}
				return nil
			}
			if _, err := to.Write(chunk); err != nil {
				p.closeSession(s)
				return err
			}
			count.Add(int64(len(chunk)))
			window.Release(chunkBytes)
		}
	})
}

func (p *Proxy) add(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sessions[s] = struct{}{}
	s.up.stall(p.stalled)
	s.down.stall(p.stalled)
}

func (p *Proxy) remove(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.close()
	delete(p.sessions, s)
}

func (p *Proxy) setServer(s *session, server net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.server = server
	if s.up.isClosed() { // dropped while dialling
		server.Close()
	}
}

func (p *Proxy) closeSession(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.close()
}

// close is called with Proxy.mu held.
func (s *session) close() {
	s.up.close()
	s.down.close()
	s.client.Close()
	if s.server != nil {
		s.server.Close()
	}
}

func (l *queue[T]) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}
