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

// acceptPause is how long a listener rests when a connection could not be accepted.
const acceptPause = 100 * time.Millisecond

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
