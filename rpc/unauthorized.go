// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"bufio"
	"bytes"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// unauthorizedInterval is how often calls without the right secret are logged: consensus clients repeat them each second.
const unauthorizedInterval = time.Minute

// unauthorized logs the calls that the authenticated endpoint refuses: an operator looks at this log when the consensus client's one
// says no more than 401.
type unauthorized struct {
	next    http.Handler
	jwtFile string
	log     *slog.Logger

	mu     sync.Mutex
	calls  int // refused since the last line
	logged time.Time
}

// ServeHTTP passes a request on, and looks at the answer.
func (u *unauthorized) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := &observedAnswer{ResponseWriter: w}
	u.next.ServeHTTP(answer, r)
	if answer.status == http.StatusUnauthorized {
		u.note(r.RemoteAddr, string(bytes.TrimSpace(answer.reason)))
	}
}

func (u *unauthorized) note(from, reason string) {
	u.mu.Lock()
	u.calls++
	now, calls := time.Now(), u.calls
	due := now.Sub(u.logged) >= unauthorizedInterval
	if due {
		u.calls, u.logged = 0, now
	}
	u.mu.Unlock()
	if due {
		u.log.Warn("Refused Engine API calls: the caller's JWT secret or clock is another one", "reason", reason, "from", from, "calls", calls, "jwt_secret", u.jwtFile)
	}
}

// observedAnswer keeps the status of an answer, and what is written of a refusal.
type observedAnswer struct {
	http.ResponseWriter
	status int
	reason []byte
}

func (o *observedAnswer) WriteHeader(status int) {
	o.status = status
	o.ResponseWriter.WriteHeader(status)
}

func (o *observedAnswer) Write(p []byte) (int, error) {
	if o.status == http.StatusUnauthorized && o.reason == nil {
		o.reason = bytes.Clone(p[:min(len(p), 200)])
	}
	return o.ResponseWriter.Write(p)
}

// Unwrap lets [http.ResponseController] reach the connection.
func (o *observedAnswer) Unwrap() http.ResponseWriter { return o.ResponseWriter }

// Hijack implements http.Hijacker, for WebSocket connections.
func (o *observedAnswer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(o.ResponseWriter).Hijack()
}

// Flush implements http.Flusher.
func (o *observedAnswer) Flush() { _ = http.NewResponseController(o.ResponseWriter).Flush() }
