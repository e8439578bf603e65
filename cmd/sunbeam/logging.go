// SPDX-License-Identifier: LGPL-3.0-or-later

package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	gethlog "github.com/ethereum/go-ethereum/log"
	"golang.org/x/term"
	"gopkg.in/natefinch/lumberjack.v2"

	"github.com/sunbeam-eth/sunbeam/config"
)

// newLogger makes the node's logger, in geth's formats, and sends go-ethereum's own log
// the same way. Secrets do not appear in it. The function that it returns closes the log file.
func newLogger(cfg config.Log, secrets []string, stderr io.Writer) (*slog.Logger, func() error, error) {
	out, closeFile := hiding(stderr, secrets), func() error { return nil }
	if cfg.File != "" {
		file, err := openLog(cfg)
		if err != nil {
			return nil, nil, fmt.Errorf("bad value %q for --log.file: %w", cfg.File, err)
		}
		out, closeFile = hiding(io.MultiWriter(stderr, file), secrets), file.Close
	}
	filter := gethlog.NewGlogHandler(formatted(cfg.Format, out, cfg.File == "" && isTerminal(stderr)))
	filter.Verbosity(gethlog.FromLegacyLevel(cfg.Verbosity))
	if err := filter.Vmodule(strings.Join(cfg.VModule, ",")); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("bad value %q for --log.vmodule: %w", strings.Join(cfg.VModule, ","), err), closeFile())
	}
	gethlog.SetDefault(gethlog.NewLogger(filter))
	return slog.New(filter), closeFile, nil
}

// formatted is geth's handler for a format.
func formatted(format string, out io.Writer, colours bool) slog.Handler {
	switch format {
	case "json":
		return gethlog.JSONHandler(out)
	case "logfmt":
		return gethlog.LogfmtHandler(out)
	}
	return gethlog.NewTerminalHandler(out, colours)
}

// hiding is a writer of whole lines that replaces secrets, for what go-ethereum logs: its light client names whole URLs.
func hiding(out io.Writer, secrets []string) io.Writer {
	if len(secrets) == 0 {
		return out
	}
	pairs := make([]string, 0, 2*len(secrets))
	for _, secret := range secrets {
		pairs = append(pairs, secret, "(hidden)")
	}
	return &hider{out, strings.NewReplacer(pairs...)}
}

type hider struct {
	out      io.Writer
	replacer *strings.Replacer
}

// Write implements io.Writer.
func (h *hider) Write(line []byte) (int, error) {
	if _, err := h.replacer.WriteString(h.out, string(line)); err != nil {
		return 0, err
	}
	return len(line), nil
}

// openLog opens the log file to append to it. One that is rotated is renamed when it is full, and a new one is made.
func openLog(cfg config.Log) (io.WriteCloser, error) {
	file, err := os.OpenFile(cfg.File, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil || !cfg.Rotate {
		return file, err
	}
	return &lumberjack.Logger{
		Filename: cfg.File, MaxSize: cfg.MaxSizeMB, MaxBackups: cfg.MaxBackups, MaxAge: cfg.MaxAgeDays, Compress: cfg.Compress,
	}, file.Close()
}

// isTerminal says whether colours and a screen make sense.
func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	return term.IsTerminal(int(file.Fd())) //nolint:gosec // a small number
}

// keepReason writes why the process ends to the log file as well: standard error is lost where nobody keeps it. It returns the
// reason.
func keepReason(cfg config.Log, secrets []string, reason error) error {
	if reason == nil || cfg.File == "" {
		return reason
	}
	file, err := os.OpenFile(cfg.File, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return reason // the file was open before: the disk fails, and the reason says so
	}
	defer file.Close()
	slog.New(formatted(cfg.Format, hiding(file, secrets), false)).Error("Sunbeam ends with an error", "err", config.OneLine(reason))
	return reason
}
