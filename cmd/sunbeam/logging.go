// SPDX-License-Identifier: LGPL-3.0-or-later

package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	gethlog "github.com/ethereum/go-ethereum/log"

	"github.com/sunbeam-eth/sunbeam/config"
)

// newLogger makes the node's logger, in geth's formats, and sends go-ethereum's own log
// the same way. Its handler is a GlogHandler, whose levels can be changed later. The function that it returns closes the log file.
func newLogger(cfg config.Log, stderr io.Writer) (*slog.Logger, func() error, error) {
	out, closeFile := stderr, func() error { return nil }
	if cfg.File != "" {
		file, err := os.OpenFile(cfg.File, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return nil, nil, fmt.Errorf("bad value %q for --log.file: %w", cfg.File, err)
		}
		out, closeFile = io.MultiWriter(stderr, file), file.Close
	}
	var handler slog.Handler
	switch cfg.Format {
	case "json":
		handler = gethlog.JSONHandlerWithLevel(out, gethlog.LevelTrace)
	case "logfmt":
		handler = gethlog.LogfmtHandlerWithLevel(out, gethlog.LevelTrace)
	default:
		handler = gethlog.NewTerminalHandlerWithLevel(out, gethlog.LevelTrace, cfg.File == "" && isTerminal(stderr))
	}
	levels := gethlog.NewGlogHandler(handler)
	levels.Verbosity(gethlog.FromLegacyLevel(cfg.Verbosity))
	gethlog.SetDefault(gethlog.NewLogger(levels))
	return slog.New(levels), closeFile, nil
}

// isTerminal says whether colours make sense.
func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	stat, err := file.Stat()
	return err == nil && stat.Mode()&os.ModeCharDevice != 0
}
