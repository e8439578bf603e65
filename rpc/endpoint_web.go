// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ethereum/go-ethereum/node" //nolint:depguard // its handler stacks and defaults only
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/internal/health"
)

// route is one protocol of a web endpoint.
type route struct {
	srv     *gethrpc.Server
	handler http.Handler
	prefix  string // empty: exactly "/"
}

// matches reports whether the path of a request is served, by the rules of go-ethereum's --http.rpcprefix.
func (r *route) matches(request *http.Request) bool {
	if r.prefix == "" {
		return request.URL.Path == "/"
	}
	return strings.HasPrefix(request.URL.Path, r.prefix)
}

// webEndpoint serves JSON-RPC over HTTP, WebSocket or both on one port.
type webEndpoint struct {
	name       string
	host       string
	port       int // zero: any
	log        *slog.Logger
	timeouts   gethrpc.HTTPTimeouts
	http1Only  bool
	http, ws   atomic.Pointer[route] // nil: not served
	health     http.Handler          // served together with HTTP; nil: not served
	listener   net.Listener
	websockets sync.WaitGroup // WebSocket connections: after the upgrade net/http does not track them
	stopped    chan struct{}  // closed by stop
}

func (e *webEndpoint) listen(ctx context.Context) (err error) {
	addr := net.JoinHostPort(e.host, strconv.Itoa(e.port))
	if e.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", addr); err != nil {
		return fmt.Errorf("%s endpoint: %w", e.name, err)
	}
	return nil
}

func (e *webEndpoint) close() { _ = e.listener.Close() }

// stop closes the endpoint while the server runs on: the port is free when it returns. Run ends when the requests in flight have.
func (e *webEndpoint) stop() {
	close(e.stopped)
	e.close()
}

// ServeHTTP passes a request to its protocol.
func (e *webEndpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	plain, ws := e.http.Load(), e.ws.Load()
	switch {
	case plain != nil && e.health != nil && health.Asks(r):
		e.health.ServeHTTP(w, r)
	case ws != nil && isWebsocket(r):
		if !ws.matches(r) {
			http.Error(w, "not found", http.StatusNotFound)
			return
		}
		e.websockets.Add(1)
		defer e.websockets.Done()
		ws.handler.ServeHTTP(w, r)
	case plain != nil && plain.matches(r):
		plain.handler.ServeHTTP(w, r)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func isWebsocket(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket") &&
		strings.Contains(strings.ToLower(r.Header.Get("Connection")), "upgrade")
}

// run serves until ctx ends, or stop. It cancels the requests in flight and waits for them.
func (e *webEndpoint) run(ctx context.Context) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	node.CheckTimeouts(&e.timeouts)
	server := &http.Server{
		Handler:           e,
		ReadTimeout:       e.timeouts.ReadTimeout,
		ReadHeaderTimeout: e.timeouts.ReadHeaderTimeout,
		WriteTimeout:      e.timeouts.WriteTimeout,
		IdleTimeout:       e.timeouts.IdleTimeout,
		ErrorLog:          slog.NewLogLogger(e.log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		Protocols:         new(http.Protocols),
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(!e.http1Only)
	e.log.Info("Endpoint opened", "endpoint", e.name, "addr", e.listener.Addr())

	served := make(chan error, 1)
	go func() { served <- server.Serve(e.listener) }()
	var failure error
	select {
	case err := <-served:
		served <- err
		if !e.isStopped() {
			failure = fmt.Errorf("%s endpoint %s: %w", e.name, e.listener.Addr(), err)
		}
	case <-e.stopped:
	case <-ctx.Done():
	}
	end()
	for _, m := range []*atomic.Pointer[route]{&e.http, &e.ws} {
		if m := m.Load(); m != nil {
			m.srv.Stop()
		}
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(limit); err != nil {
		e.log.Warn("Closed endpoint with requests in flight", "endpoint", e.name, "err", err)
		_ = server.Close()
	}
	e.websockets.Wait()
	if err := <-served; failure == nil && !e.isStopped() && !errors.Is(err, http.ErrServerClosed) {
		e.log.Warn("Endpoint closed with an error", "endpoint", e.name, "err", err)
	}
	e.log.Info("Endpoint closed", "endpoint", e.name, "addr", e.listener.Addr())
	return failure
}

func (e *webEndpoint) isStopped() bool {
	select {
	case <-e.stopped:
		return true
	default:
		return false
	}
}
