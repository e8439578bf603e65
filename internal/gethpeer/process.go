// SPDX-License-Identifier: LGPL-3.0-or-later

package gethpeer

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/core"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// stopTimeout is how long an interrupted geth may take to write its journal.
const stopTimeout = 3 * time.Minute

// Config says what to start. Binary and Dir are required.
type Config struct {
	Binary  string        // see the functions Binary and OldBinary
	Old     bool          // Binary is a geth v1.10: it has no state schemes and builds nothing on request
	Dir     string        // datadir; created if absent, kept afterwards
	Genesis *core.Genesis // written to the datadir first; nil if the datadir has one
	Chain   string        // chain file (RLP) to import before starting; empty for none

	JWTSecret [32]byte // of the Engine API
	NetworkID uint64   // 0: the chain ID; of an old one: 1
	SyncMode  string   // "full" if empty
	GCMode    string   // "full" if empty
	Scheme    string   // state scheme; "path" if empty
	CacheMB   int      // 512 if zero
	MaxPeers  int      // 50 if zero
	GasLimit  uint64   // what blocks built here steer to; geth's default if zero
	Verbosity int      // 3 (info) if zero
	Args      []string // more flags
}

// Process is a geth that is up and answers.
type Process struct {
	node   *enode.Node
	ipc    string
	http   string
	auth   string
	log    string
	ipcDir string
	secret [32]byte

	client *gethrpc.Client
	cmd    *exec.Cmd
	cancel context.CancelFunc
	killed atomic.Bool
	exited chan struct{} // closed after err is set
	err    error
}

// Start fills the datadir as configured, starts geth and waits until it answers. The
// process ends with ctx, or by Close. A geth that does not come up is reported with the
// end of its log.
func Start(ctx context.Context, cfg Config) (*Process, error) {
	if err := prepare(ctx, cfg); err != nil {
		return nil, err
	}
	ports, err := freePorts(ctx, 3)
	if err != nil {
		return nil, err
	}
	ipcDir, err := os.MkdirTemp("", "geth") // a socket's path has little room
	if err != nil {
		return nil, err
	}
	p := &Process{
		ipc:    filepath.Join(ipcDir, "geth.ipc"),
		http:   "http://127.0.0.1:" + ports[0],
		auth:   "http://127.0.0.1:" + ports[1],
		log:    filepath.Join(cfg.Dir, "geth.log"),
		ipcDir: ipcDir,
		secret: cfg.JWTSecret,
		exited: make(chan struct{}),
	}
	jwt := filepath.Join(cfg.Dir, "jwt.hex")
	if err := os.WriteFile(jwt, []byte(hex.EncodeToString(cfg.JWTSecret[:])), 0o600); err != nil {
		return nil, err
	}
	modules := "eth,net,web3,txpool,admin,debug,testing"
	if cfg.Old {
		modules = "eth,net,web3,txpool,admin,debug"
	}
	args := append(cfg.storeArgs(),
		"--cache", strconv.Itoa(or(cfg.CacheMB, 512)), "--verbosity", strconv.Itoa(or(cfg.Verbosity, 3)),
		"--syncmode", or(cfg.SyncMode, "full"), "--gcmode", or(cfg.GCMode, "full"),
		"--nodiscover", "--nat", "none", "--port", ports[2], "--netrestrict", "127.0.0.0/8",
		"--maxpeers", strconv.Itoa(or(cfg.MaxPeers, 50)),
		"--ipcpath", p.ipc,
		"--http", "--http.addr", "127.0.0.1", "--http.port", ports[0], "--http.api", modules,
		"--authrpc.addr", "127.0.0.1", "--authrpc.port", ports[1], "--authrpc.jwtsecret", jwt,
	)
	if !cfg.Old {
		args = append(args, "--log.format", "logfmt")
	}
	if cfg.NetworkID != 0 {
		args = append(args, "--networkid", strconv.FormatUint(cfg.NetworkID, 10))
	}
	if cfg.GasLimit != 0 {
		args = append(args, "--miner.gaslimit", strconv.FormatUint(cfg.GasLimit, 10))
	}
	if err := p.run(ctx, cfg.Binary, append(args, cfg.Args...)); err != nil {
		os.RemoveAll(ipcDir)
		return nil, err
	}
	if err := p.await(ctx); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func or[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

func (cfg *Config) storeArgs() []string {
	if cfg.Old {
		return []string{"--datadir", cfg.Dir}
	}
	return []string{"--datadir", cfg.Dir, "--state.scheme", or(cfg.Scheme, "path")}
}

// prepare runs geth init and geth import as far as they are asked for.
func prepare(ctx context.Context, cfg Config) error {
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return err
	}
	if cfg.Genesis != nil {
		spec, err := json.Marshal(cfg.Genesis)
		if err != nil {
			return fmt.Errorf("encode genesis: %w", err)
		}
		path := filepath.Join(cfg.Dir, "genesis.json")
		if err := os.WriteFile(path, spec, 0o644); err != nil {
			return err
		}
		if err := runCommand(ctx, cfg.Binary, append(append([]string{"init"}, cfg.storeArgs()...), path)); err != nil {
			return err
		}
	}
	if cfg.Chain != "" {
		return runCommand(ctx, cfg.Binary, append(append([]string{"import"}, cfg.storeArgs()...), cfg.Chain))
	}
	return nil
}

// runCommand runs a subcommand to its end.
func runCommand(ctx context.Context, binary string, args []string) error {
	out, err := exec.CommandContext(ctx, binary, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("geth %s: %w\n%s", args[0], err, tail(out))
	}
	return nil
}

func (p *Process) run(ctx context.Context, binary string, args []string) error {
	log, err := os.Create(p.log)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	ctx, p.cancel = context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, binary, args...)
	p.cmd = cmd
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = stopTimeout
	cmd.SysProcAttr = ChildAttributes()
	if err := cmd.Start(); err != nil {
		p.cancel()
		return fmt.Errorf("start geth: %w", err)
	}
	go func() {
		defer close(p.exited)
		err := cmd.Wait()
		switch {
		case p.killed.Load():
		case err != nil && ctx.Err() == nil:
			p.err = fmt.Errorf("geth ended by itself: %w\n%s", err, p.LogTail())
		case errors.Is(err, exec.ErrWaitDelay) || err != nil && cmd.ProcessState.ExitCode() == -1:
			p.err = fmt.Errorf("geth did not stop in order: %w (%v)\n%s", err, cmd.ProcessState, p.LogTail())
		}
		os.RemoveAll(p.ipcDir)
	}()
	return nil
}

// await waits until geth says who it is and can be stopped.
func (p *Process) await(ctx context.Context) error {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		ready, err := p.ready(ctx)
		if ready || err != nil {
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-p.exited:
			return errors.Join(errors.New("geth did not come up"), p.err)
		}
	}
}

func (p *Process) ready(ctx context.Context) (bool, error) {
	if p.client == nil {
		client, err := gethrpc.DialContext(ctx, p.ipc)
		if err != nil {
			return false, nil //nolint:nilerr // not yet
		}
		p.client = client
		var self gethp2p.NodeInfo
		if err := client.CallContext(ctx, &self, "admin_nodeInfo"); err != nil {
			return false, fmt.Errorf("ask geth for its enode: %w", err)
		}
		if p.node, err = enode.Parse(enode.ValidSchemes, self.Enode); err != nil {
			return false, fmt.Errorf("geth's enode: %w", err)
		}
	}
	// It answers before it handles signals: an interrupt now would kill it on the spot.
	// The goroutine that waits for one shows that it does.
	var stacks string
	if err := p.client.CallContext(ctx, &stacks, "debug_stacks", "StartNode"); err != nil {
		return false, fmt.Errorf("ask geth for its goroutines: %w", err)
	}
	return strings.Contains(stacks, "[chan receive"), nil
}

// Enode is the URL under which geth listens, on loopback.
func (p *Process) Enode() string { return p.EnodeAt(fmt.Sprintf("127.0.0.1:%d", p.node.TCP())) }

// EnodeAt is geth's enode URL with another address (ip:port): that of a proxy.
func (p *Process) EnodeAt(addr string) string {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return ""
	}
	return enode.NewV4(p.node.Pubkey(), at.Addr().AsSlice(), int(at.Port()), 0).URLv4()
}

// RLPx is the address (host:port) for devp2p connections.
func (p *Process) RLPx() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.node.TCP())) }

// PID is the process's ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// IPC is the path of the socket that serves all namespaces.
func (p *Process) IPC() string { return p.ipc }

// HTTP is the URL of the public RPC.
func (p *Process) HTTP() string { return p.http }

// Auth is the URL of the Engine API.
func (p *Process) Auth() string { return p.auth }

// JWTSecret is the secret of the Engine API.
func (p *Process) JWTSecret() [32]byte { return p.secret }

// RPC is a client on the IPC socket; Close closes it.
func (p *Process) RPC() *gethrpc.Client { return p.client }

// LogTail is the end of geth's log.
func (p *Process) LogTail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return tail(text)
}

// Logged says whether geth has logged a text.
func (p *Process) Logged(text string) bool {
	log, err := os.ReadFile(p.log)
	return err == nil && bytes.Contains(log, []byte(text))
}

// crash begins what the Go runtime and geth say last before they exit with an error.
// Thousands of lines of goroutines may follow.
var crash = regexp.MustCompile(`(?m)^(panic:|fatal error:|runtime: |unexpected fault|SIG[A-Z]+:|Fatal: )`)

// tail is the end of a log: the last lines or, if it ends in a crash, those around the
// crash's first one.
func tail(text []byte) string {
	const before, enough = 1 << 10, 4 << 10
	from := max(0, len(text)-enough)
	if at := crash.FindIndex(text); at != nil {
		from = min(from, max(0, at[0]-before))
	}
	return string(bytes.TrimSpace(text[from:min(len(text), from+enough)]))
}

// Exited is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Wait waits for the process to end. It returns nil if it ended because it was told to.
func (p *Process) Wait() error {
	<-p.exited
	return p.err
}

// Kill ends geth at once. Its datadir may need repair then: for those that are thrown away.
func (p *Process) Kill() error {
	p.killed.Store(true)
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return p.Close()
}

// Close interrupts geth and waits until it is gone.
func (p *Process) Close() error {
	p.cancel()
	if p.client != nil {
		p.client.Close()
	}
	return p.Wait()
}

// freePorts returns loopback ports that were free a moment ago.
func freePorts(ctx context.Context, n int) ([]string, error) {
	ports := make([]string, n)
	for i := range ports {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer listener.Close() // all stay open until all are chosen
		_, ports[i], err = net.SplitHostPort(listener.Addr().String())
		if err != nil {
			return nil, err
		}
	}
	return ports, nil
}
