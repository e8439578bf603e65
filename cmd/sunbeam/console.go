// SPDX-License-Identifier: LGPL-3.0-or-later

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/ethereum/go-ethereum/console"
)

// beamModule gives go-ethereum's console the namespaces that only Sunbeam has, and those that it has no names for.
const beamModule = `
web3._extend({property: 'beam', properties: [
	new web3._extend.Property({name: 'status', getter: 'beam_status'}),
	new web3._extend.Property({name: 'overview', getter: 'beam_overview'}),
]});
var beam = web3.beam;
beam.setHead = function(hash) {
	var sent = {jsonrpc: '2.0', id: 1, method: 'engine_forkchoiceUpdatedV3', params: [{headBlockHash: hash, safeBlockHash: hash, finalizedBlockHash: hash}, null]};
	var got = web3.currentProvider.send(sent);
	if (got.error) throw new Error(got.error.message);
	return got.result.payloadStatus.status;
};
`

// openConsole makes a console whose output goes to out.
func openConsole(cfg console.Config, out io.Writer) (*console.Console, error) {
	dir, err := os.MkdirTemp("", "sunbeam-console")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) // it is read at once
	module := filepath.Join(dir, "beam.js")
	if err := os.WriteFile(module, []byte(beamModule), 0o600); err != nil {
		return nil, err
	}
	cfg.Printer, cfg.Preload = out, append([]string{module}, cfg.Preload...)
	return console.New(cfg)
}

// switched writes to what out is at the moment.
type switched struct{ out io.Writer }

// Write implements io.Writer.
func (s *switched) Write(text []byte) (int, error) { return s.out.Write(text) }

// execute evaluates a statement, and returns an error if it throws: the console prints what, but does not tell. printer is
// what js prints to.
func execute(js *console.Console, printer *switched, statement string) error {
	code, err := json.Marshal(statement)
	if err != nil {
		return err
	}
	js.Evaluate("var __threw = true, __value = (0, eval)(" + string(code) + "); __threw = false; __value")
	var threw bytes.Buffer
	printer.out = &threw
	js.Evaluate("__threw")
	if bytes.Contains(threw.Bytes(), []byte("false")) {
		return nil
	}
	return errors.New("the statement of --exec failed")
}
