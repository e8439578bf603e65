// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/ethereum/go-ethereum/p2p/netutil"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// acceptRetryDelay is the time until a listener tries again when a connection could not be accepted.
const acceptRetryDelay = 100 * time.Millisecond

// ipcEndpoint serves all namespaces on a Unix socket.
type ipcEndpoint struct {
	path     string
	log      *slog.Logger
	srv      *gethrpc.Server
	listener net.Listener
}

// openIPC opens the socket, mode 0600. It replaces a socket on which no process listens, and leaves any
// other file at the path alone.
func (s *Server) openIPC(ctx context.Context) (*ipcEndpoint, error) {
	e := &ipcEndpoint{path: s.cfg.IPC, log: s.log, srv: gethrpc.NewServer()}
	modules := append(s.namespaces(), gethrpc.EngineApi)
	if err := s.register(e.srv, modules, &engineAPI{b: s.b, limiter: s.engineCalls}); err != nil {
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
	if err := e.removeStaleSocket(ctx); err != nil {
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

// removeStaleSocket removes the socket of a node that was killed.
func (e *ipcEndpoint) removeStaleSocket(ctx context.Context) error {
	info, err := os.Lstat(e.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("the path exists and is not a socket: remove it or choose another path")
	}
	dialer := net.Dialer{Timeout: time.Second}
	if conn, err := dialer.DialContext(ctx, "unix", e.path); err == nil {
		_ = conn.Close()
		return errors.New("another process listens on it: stop it or choose another path")
	}
	return os.Remove(e.path)
}

func (e *ipcEndpoint) close() { _ = e.listener.Close() }

// run serves connections until ctx ends, then closes them.
func (e *ipcEndpoint) run(ctx context.Context) error {
	e.log.Info("Endpoint opened", "endpoint", "IPC", "path", e.path)
	stop := context.AfterFunc(ctx, func() { _ = e.listener.Close() })
	defer stop()
	var conns sync.WaitGroup
	var failure error
	for {
		conn, err := e.listener.Accept()
		if netutil.IsTemporaryError(err) { // out of file descriptors
			e.log.Warn("Failed to accept IPC connection, retrying", "err", err)
			select {
			case <-time.After(acceptRetryDelay):
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
	e.log.Info("Endpoint closed", "endpoint", "IPC", "path", e.path)
	return failure
}
