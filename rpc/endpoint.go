package rpc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ethereum/go-ethereum/node" //nolint:depguard // its handler stacks and defaults only
	"github.com/ethereum/go-ethereum/p2p/netutil"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// acceptPause is how long a listener rests when a connection could not be accepted.
const acceptPause = 100 * time.Millisecond

// mount is one protocol on a web endpoint.
type mount struct {
	srv     *gethrpc.Server
	handler http.Handler
	prefix  string // empty: exactly "/"
}

// serves says whether a request belongs to this mount (geth's checkPath).
func (m *mount) serves(r *http.Request) bool {
	if m.prefix == "" {
		return r.URL.Path == "/"
	}
	return strings.HasPrefix(r.URL.Path, m.prefix)
}

// webEndpoint serves JSON-RPC over HTTP, WebSocket or both on one port.
type webEndpoint struct {
	name      string
	addr      string
	log       *slog.Logger
	timeouts  gethrpc.HTTPTimeouts
	http1Only bool
	http, ws  *mount // nil: not served
	listener  net.Listener
	sockets   sync.WaitGroup // upgraded connections, which net/http does not track
}

func (e *webEndpoint) listen(ctx context.Context) (err error) {
	if e.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", e.addr); err != nil {
		return fmt.Errorf("%s endpoint: %w", e.name, err)
	}
	return nil
}

func (e *webEndpoint) abandon() { _ = e.listener.Close() }

// ServeHTTP routes a request to the protocol it is for.
func (e *webEndpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case e.ws != nil && isWebsocket(r):
		if !e.ws.serves(r) {
			http.Error(w, "not found", http.StatusNotFound)
			return
		}
		e.sockets.Add(1)
		defer e.sockets.Done()
		e.ws.handler.ServeHTTP(w, r)
	case e.http != nil && e.http.serves(r):
		e.http.handler.ServeHTTP(w, r)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func isWebsocket(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket") &&
		strings.Contains(strings.ToLower(r.Header.Get("Connection")), "upgrade")
}

// run serves until ctx ends. Requests in flight see ctx end and are waited for.
func (e *webEndpoint) run(ctx context.Context) error {
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
	e.log.Info("Endpoint opened", "name", e.name, "addr", e.listener.Addr())

	served := make(chan error, 1)
	go func() { served <- server.Serve(e.listener) }()
	var failure error
	select {
	case err := <-served:
		failure = fmt.Errorf("%s endpoint %s: %w", e.name, e.addr, err)
	case <-ctx.Done():
	}
	for _, m := range []*mount{e.http, e.ws} {
		if m != nil {
			m.srv.Stop()
		}
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(limit); err != nil {
		e.log.Warn("Requests did not end in time", "endpoint", e.name, "err", err)
		_ = server.Close()
	}
	e.sockets.Wait()
	if failure == nil {
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			e.log.Warn("Endpoint ended badly", "name", e.name, "err", err)
		}
	}
	e.log.Info("Endpoint closed", "name", e.name, "addr", e.listener.Addr())
	return failure
}

// ipcEndpoint serves everything on a Unix socket.
type ipcEndpoint struct {
	path     string
	log      *slog.Logger
	srv      *gethrpc.Server
	listener net.Listener
}

// openIPC opens the socket, mode 0600. A socket that nobody listens on is replaced,
// anything else at its path is left alone.
func (s *Server) openIPC(ctx context.Context) (*ipcEndpoint, error) {
	e := &ipcEndpoint{path: s.cfg.IPC, log: s.log, srv: gethrpc.NewServer()}
	modules := append(s.namespaces(), gethrpc.EngineApi)
	if err := s.register(e.srv, modules, &engineAPI{b: s.b, gate: s.calls}); err != nil {
		return nil, err
	}
	if err := e.listen(ctx); err != nil {
		return nil, fmt.Errorf("IPC endpoint %s: %w", e.path, err)
	}
	return e, nil
}

func (e *ipcEndpoint) listen(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(e.path), 0o700); err != nil {
		return err
	}
	if err := e.clear(ctx); err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", e.path)
	if errors.Is(err, syscall.EINVAL) {
		return fmt.Errorf("path of %d bytes is too long for a socket (107 on Linux): %w", len(e.path), err)
	}
	if err != nil {
		return err
	}
	if err := os.Chmod(e.path, 0o600); err != nil {
		return errors.Join(err, listener.Close())
	}
	e.listener = listener
	return nil
}

// clear removes what a node that was killed left behind.
func (e *ipcEndpoint) clear(ctx context.Context) error {
	info, err := os.Lstat(e.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("there is a file that is no socket")
	}
	dialer := net.Dialer{Timeout: time.Second}
	if conn, err := dialer.DialContext(ctx, "unix", e.path); err == nil {
		_ = conn.Close()
		return errors.New("another process listens there")
	}
	return os.Remove(e.path)
}

func (e *ipcEndpoint) abandon() { _ = e.listener.Close() }

// run accepts connections until ctx ends, then ends them.
func (e *ipcEndpoint) run(ctx context.Context) error {
	e.log.Info("Endpoint opened", "name", "IPC", "path", e.path)
	stop := context.AfterFunc(ctx, func() { _ = e.listener.Close() })
	defer stop()
	var conns sync.WaitGroup
	var failure error
	for {
		conn, err := e.listener.Accept()
		if netutil.IsTemporaryError(err) { // out of file descriptors
			e.log.Warn("IPC connection not accepted", "err", err)
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
			continue
		}
		if err != nil {
			if ctx.Err() == nil {
				failure = fmt.Errorf("IPC endpoint %s: %w", e.path, err)
			}
			break
		}
		conns.Go(func() { e.srv.ServeCodec(gethrpc.NewCodec(conn), 0) })
	}
	e.srv.Stop()
	conns.Wait()
	e.log.Info("Endpoint closed", "name", "IPC", "path", e.path)
	return failure
}
