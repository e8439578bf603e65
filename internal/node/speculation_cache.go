// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/internal/atomicfile"
)

const (
	speculationCacheName = "speculation.cache"
	// speculationCacheInterval is how often the file is written while blocks are executed: it takes some 20 MB.
	speculationCacheInterval = 5 * time.Minute
)

// speculationCache is the file of what the executor has learned for speculation. Without it the first blocks after a start
// need more round trips, and nothing else.
type speculationCache struct {
	path     string
	genesis  common.Hash
	executor *evm.Executor
	log      *slog.Logger
	known    []byte // hash of the content when it was read or written last
}

// openSpeculationCache gives the executor what it knew when the node ran last. A damaged file is set aside.
func (n *Node) openSpeculationCache(executor *evm.Executor) (*speculationCache, error) {
	c := &speculationCache{
		path: filepath.Join(n.cfg.InstanceDir(), speculationCacheName), genesis: n.chain.Genesis().Hash(), executor: executor, log: n.log,
	}
	switch err := c.read(); {
	case err == nil, errors.Is(err, os.ErrNotExist):
	case errors.Is(err, evm.ErrCacheForeign):
		n.log.Info("Ignoring the speculation cache: it is made anew", "path", c.path, "err", err)
	default:
		moved, failed := db.SetAside(c.path)
		if failed != nil {
			return nil, fmt.Errorf("read speculation cache %s: %w (remove it: it is made anew)", c.path, errors.Join(err, failed))
		}
		n.logSetAside(moved, err)
	}
	content, err := executor.EncodeSpeculationCache(c.genesis)
	c.known = crypto.Keccak256(content)
	return c, err
}

func (c *speculationCache) read() error {
	stat, err := os.Stat(c.path)
	if err != nil {
		return err
	}
	if !stat.Mode().IsRegular() || stat.Size() > evm.MaxSpeculationCache {
		return fmt.Errorf("%s is no file of at most %d bytes", c.path, evm.MaxSpeculationCache)
	}
	raw, err := os.ReadFile(c.path)
	if err != nil {
		return err
	}
	return c.executor.DecodeSpeculationCache(raw, c.genesis)
}

// Run writes the file now and then, and when ctx ends, if more was learned. A node that cannot write it goes on: its
// databases say what is wrong with the disk.
func (c *speculationCache) Run(ctx context.Context) error {
	tick := time.NewTicker(speculationCacheInterval)
	defer tick.Stop()
	for stopped := false; !stopped; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			stopped = true
		}
		if err := c.write(); err != nil {
			c.log.Warn("Failed to write the speculation cache: the first blocks after a start need more round trips", "path", c.path, "err", err)
		}
	}
	return nil
}

func (c *speculationCache) write() error {
	content, err := c.executor.EncodeSpeculationCache(c.genesis)
	if err != nil {
		return err
	}
	hash := crypto.Keccak256(content)
	if bytes.Equal(hash, c.known) { // so it is with a full node: it does not speculate
		return nil
	}
	if err := atomicfile.Write(c.path, content); err != nil {
		return err
	}
	c.known = hash
	return nil
}
