// SPDX-License-Identifier: LGPL-3.0-or-later

package page

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

//go:embed assets
var assets embed.FS

const (
	interval        = time.Second      // of events
	maxStreams      = 16               // open at the same time
	maxConnections  = 64               // at the same time
	writeTimeout    = 10 * time.Second // of one event or file: who reads slower is disconnected
	shutdownTimeout = time.Second      // that requests may take when the node stops; streams end at once
)

// Config of a [Server].
type Config struct {
	Addr   string   // host:port to listen on
	VHosts []string // allowed Host headers in addition to IP addresses; "*" allows all
	State  func() State
	Log    *slog.Logger
}

// Server serves the page.
type Server struct {
	cfg     Config
	ready   chan struct{}
	addr    string        // once ready
	streams chan struct{} // a token for each open one

	mu   sync.Mutex // of the newest state, which all streams share
	last []byte
	at   time.Time
}

// NewServer returns a server that does not listen yet.
func NewServer(cfg Config) *Server {
	return &Server{cfg: cfg, ready: make(chan struct{}), streams: make(chan struct{}, maxStreams)}
}

// Ready is closed when the server listens.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// URL is where the page is, once the server is ready.
func (s *Server) URL() string { return "http://" + s.addr + "/" }

// Run serves until ctx ends. An address that cannot be listened on is an error.
func (s *Server) Run(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.cfg.Addr)
	if err != nil {
		return fmt.Errorf("status page: %w", err)
	}
	s.addr = listener.Addr().String()
	close(s.ready)
	s.cfg.Log.Info("Status page started", "url", s.URL())
	server := &http.Server{
		Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		stopped <- server.Shutdown(limit)
	})
	err = server.Serve(&limited{Listener: listener, open: make(chan struct{}, maxConnections)})
	if !stop() {
		if <-stopped != nil { // someone is still reading
			err = server.Close()
		}
	}
	if err == nil || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("status page: %w", err)
}

func (s *Server) handler() http.Handler {
	files, err := fs.Sub(assets, "assets")
	if err != nil {
		panic(err) // the name is that of the embedded directory
	}
	static := http.FileServerFS(files)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /events", s.events)
	mux.HandleFunc("GET /state", s.state)
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout)) // not of all writers
		static.ServeHTTP(w, r)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.allowed(r.Host) {
			http.Error(w, "invalid host specified", http.StatusForbidden)
			return
		}
		head := w.Header()
		head.Set("Content-Security-Policy", "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'")
		head.Set("X-Content-Type-Options", "nosniff")
		head.Set("Referrer-Policy", "no-referrer")
		head.Set("Cache-Control", "no-cache")
		mux.ServeHTTP(w, r)
	})
}

// allowed says whether a Host header names this server: an IP address, or a name that the operator allows.
func (s *Server) allowed(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if host == "" || net.ParseIP(strings.Trim(host, "[]")) != nil {
		return true
	}
	return slices.ContainsFunc(s.cfg.VHosts, func(v string) bool { return v == "*" || strings.EqualFold(v, host) })
}

// newest returns the state as JSON, at most one interval old.
func (s *Server) newest() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.at) < interval*9/10 {
		return s.last, nil
	}
	encoded, err := json.Marshal(s.cfg.State())
	if err != nil {
		return nil, err
	}
	s.last, s.at = encoded, time.Now()
	return encoded, nil
}

// state answers with the state once.
func (s *Server) state(w http.ResponseWriter, _ *http.Request) {
	encoded, err := s.newest()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	_, _ = w.Write(encoded)
}

// events sends the state whenever it has changed, until the reader or the node goes away.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		http.Error(w, "too many open pages", http.StatusServiceUnavailable)
		return
	}
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for sent := []byte(nil); ; {
		encoded, err := s.newest()
		if err != nil {
			return
		}
		event := ": nothing new\n\n"
		if !bytes.Equal(encoded, sent) {
			event, sent = "data: "+string(encoded)+"\n\n", encoded
		}
		_ = out.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := w.Write([]byte(event)); err != nil || out.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done(): // also when the node stops
			return
		case <-tick.C:
		}
	}
}

// limited is a listener that closes connections at once while there are too many.
type limited struct {
	net.Listener
	open chan struct{} // a token for each
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.open <- struct{}{}:
			return &counted{Conn: conn, done: sync.OnceFunc(func() { <-l.open })}, nil
		default:
			_ = conn.Close()
		}
	}
}

// counted is a connection that counts until it is closed.
type counted struct {
	net.Conn
	done func()
}

// Close implements net.Conn.
func (c *counted) Close() error {
	defer c.done()
	return c.Conn.Close()
}
