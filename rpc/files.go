// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// Methods that read or write a file of the node's machine are for callers on the IPC socket only: over the network they
// would let anybody do so with the rights of the node's user. A relative name is in the data directory.

var (
	errNotIPC     = errors.New("this method uses a file of the node's machine, so it is for the IPC socket only")
	errFileExists = errors.New("location would overwrite an existing file") // go-ethereum's text
)

// filePath is where a file is that a caller names.
func (b *backend) filePath(ctx context.Context, name string) (string, error) {
	if gethrpc.PeerInfoFromContext(ctx).Transport != "ipc" {
		return "", errNotIPC
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(b.cfg.Identity.DataDir, name)
	}
	return name, nil
}

// createFile makes a new file for a caller.
func (b *backend) createFile(ctx context.Context, name string) (*os.File, error) {
	path, err := b.filePath(ctx, name)
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		err = errFileExists
	}
	return file, err
}
