// SPDX-License-Identifier: LGPL-3.0-or-later

package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/internal/gethpeer"
	"github.com/sunbeam-eth/sunbeam/internal/mockcl"
)

// stopTimeout is how long an interrupted node may take. One that takes longer hangs: a slow machine
// does not explain it.
const stopTimeout = 2 * time.Minute

// Build builds the node from the module that the working directory is in.
func Build(ctx context.Context, target string) error {
	root, err := gethpeer.Go(ctx, "", "list", "-m", "-f", "{{.Dir}}")
	if err != nil {
		return fmt.Errorf("find the module to build sunbeam from: %w", err)
	}
	if _, err := gethpeer.Go(ctx, root, "build", "-o", target, "./cmd/sunbeam"); err != nil {
		return fmt.Errorf("build sunbeam: %w", err)
	}
	return nil
}

// NodeConfig says how to start a node: everything that is not here is left to defaults.
type NodeConfig struct {
	Binary  string
	Dir     string // datadir
	Genesis string // file
	Peers   []string
	JWTFile string
	Secret  [32]byte // what JWTFile says
	Args    []string // more flags
}

// Node is a sunbeam in a process of its own.
type Node struct {
	Started time.Time
	Engine  *mockcl.Client
	RPC     *gethrpc.Client // over HTTP
	HTTP    string          // URL
	Auth    string          // URL of the Engine API
	IPC     string          // socket

	cmd    *exec.Cmd
	log    string
	cancel context.CancelFunc
	exited chan struct{} // closed after err is set
	err    error
}

// StartNode starts a node and waits until its RPC answers. It ends with ctx, or by Close.
func StartNode(ctx context.Context, cfg NodeConfig) (*Node, error) {
	ports, err := freePorts(ctx, 3)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, err
	}
	n := &Node{
		HTTP:   "http://127.0.0.1:" + ports[0],
		Auth:   "http://127.0.0.1:" + ports[1],
		IPC:    filepath.Join(cfg.Dir, "sunbeam.ipc"),
		log:    cfg.Dir + ".log",
		exited: make(chan struct{}),
	}
	args := append([]string{
		"--datadir", cfg.Dir, "--override.genesis", cfg.Genesis, "--peers", strings.Join(cfg.Peers, ","),
		"--http", "--http.port", ports[0], "--http.api", "eth,net,web3,beam",
		"--authrpc.port", ports[1], "--authrpc.jwtsecret", cfg.JWTFile, "--port", ports[2],
	}, cfg.Args...)
	if n.Engine, err = mockcl.Dial(ctx, "sunbeam", n.Auth, cfg.Secret); err != nil {
		return nil, err
	}
	if n.RPC, err = gethrpc.DialContext(ctx, n.HTTP); err != nil {
		return nil, err
	}
	if err := n.run(ctx, cfg.Binary, args); err != nil {
		return nil, err
	}
	if err := n.await(ctx); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *Node) run(ctx context.Context, binary string, args []string) error {
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	ctx, n.cancel = context.WithCancel(ctx)
	n.cmd = exec.CommandContext(ctx, binary, args...)
	n.cmd.Stdout, n.cmd.Stderr = log, log
	n.cmd.SysProcAttr = gethpeer.ChildAttributes()
	n.cmd.Cancel = func() error { return n.cmd.Process.Signal(os.Interrupt) }
	n.cmd.WaitDelay = stopTimeout
	n.Started = time.Now()
	if err := n.cmd.Start(); err != nil {
		n.cancel()
		return fmt.Errorf("start sunbeam: %w", err)
	}
	go func() {
		defer close(n.exited)
		err := n.cmd.Wait()
		if err != nil && ctx.Err() == nil {
			n.err = fmt.Errorf("sunbeam ended by itself: %w\n%s", err, n.LogTail())
		} else if ctx.Err() != nil && !n.cmd.ProcessState.Success() {
			n.err = fmt.Errorf("sunbeam was interrupted and ended with %v\n%s", n.cmd.ProcessState, n.LogTail())
		}
	}()
	return nil
}

// await waits until the node answers JSON-RPC.
func (n *Node) await(ctx context.Context) error {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		if err := n.RPC.CallContext(ctx, new(string), "web3_clientVersion"); err == nil {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-n.exited:
			return errors.Join(errors.New("sunbeam did not come up"), n.err)
		}
	}
}

// Status is the part of beam_status that is looked at here.
type Status struct {
	Phase      string `json:"phase"`
	StatePeers int    `json:"statePeers"`
	Head       uint64 `json:"head"`
	Last       struct {
		Number  uint64  `json:"number"`
		Fetched Fetched `json:"fetched"`
	} `json:"last"`
	Totals struct {
		Valid      uint64  `json:"valid"`
		Invalid    uint64  `json:"invalid"`
		Incomplete uint64  `json:"incomplete"`
		Fetched    Fetched `json:"fetched"`
	} `json:"totals"`
	Backfill *Backfill `json:"backfill"` // nil if the rest of the state is not collected
	Flat     struct {
		Done bool `json:"done"` // all of the flat state is there
	} `json:"flat"`
}

// Full says whether the node has all of the state.
func (s *Status) Full() bool { return s.Phase == "full" }

// Backfill is how far the node has come with the rest of the state.
type Backfill struct {
	Share    float64 `json:"share"`
	Accounts uint64  `json:"accounts"`
	Slots    uint64  `json:"slots"`
	Codes    uint64  `json:"codes"`
	Nodes    uint64  `json:"nodes"`
	Bytes    uint64  `json:"bytes"`
	Restarts int     `json:"restarts"`
	Waiting  string  `json:"waiting"`
}

// Fetched is what executions had to ask peers for.
type Fetched struct {
	Faults      uint64  `json:"faults"`
	Trips       uint64  `json:"trips"`
	Requests    uint64  `json:"requests"`
	Nodes       uint64  `json:"nodes"`
	Codes       uint64  `json:"codes"`
	Bytes       uint64  `json:"bytes"`
	WaitSeconds float64 `json:"waitSeconds"`
}

// Status asks the node how it is doing.
func (n *Node) Status(ctx context.Context) (Status, error) {
	var status Status
	err := n.RPC.CallContext(ctx, &status, "beam_status")
	return status, err
}

// PID is the process's ID.
func (n *Node) PID() int { return n.cmd.Process.Pid }

// Memory is the most memory that the node has had so far, in bytes; 0 where the system
// does not tell.
func (n *Node) Memory() uint64 { return Memory(n.PID()) }

// Memory is that of any process.
func Memory(pid int) uint64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10
		}
	}
	return 0
}

// LogTail is the end of the node's log.
func (n *Node) LogTail() string {
	text, err := os.ReadFile(n.log)
	if err != nil {
		return err.Error()
	}
	const enough = 4 << 10
	return string(bytes.TrimSpace(text[max(0, len(text)-enough):]))
}

// Log is the file that the node logs to.
func (n *Node) Log() string { return n.log }

// Exited is closed when the process has ended.
func (n *Node) Exited() <-chan struct{} { return n.exited }

// Wait waits for the process to end. It returns nil if it ended in order because it was
// told to.
func (n *Node) Wait() error {
	<-n.exited
	return n.err
}

// Kill ends the process as a power cut would, and waits until it is gone.
func (n *Node) Kill() error {
	err := n.cmd.Process.Kill()
	<-n.exited
	n.close()
	return err
}

// Close interrupts the node and waits until it is gone.
func (n *Node) Close() error {
	n.close()
	return n.Wait()
}

func (n *Node) close() {
	n.cancel()
	n.Engine.Close()
	n.RPC.Close()
}

// freePorts returns loopback ports that were free a moment ago.
func freePorts(ctx context.Context, count int) ([]string, error) {
	ports := make([]string, count)
	for i := range ports {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer listener.Close() // all stay open until all are chosen
		if _, ports[i], err = net.SplitHostPort(listener.Addr().String()); err != nil {
			return nil, err
		}
	}
	return ports, nil
}
