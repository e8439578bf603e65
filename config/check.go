// SPDX-License-Identifier: LGPL-3.0-or-later

package config

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	bparams "github.com/ethereum/go-ethereum/beacon/params"
	"github.com/ethereum/go-ethereum/core"
	gethhistory "github.com/ethereum/go-ethereum/core/history"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/dnsdisc"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/p2p/nat"
)

// The checks see the text of a value, say what is wanted, and create nothing.

// namespaces are the JSON-RPC modules that may be named in --http.api and --ws.api.
var namespaces = []string{"admin", "beam", "debug", "eth", "miner", "net", "rpc", "testing", "trace", "txpool", "web3"} //nolint:gochecknoglobals // never written

func oneOf(allowed ...string) func(string) error {
	return func(s string) error {
		if slices.Contains(allowed, s) {
			return nil
		}
		return fmt.Errorf("want one of %s", strings.Join(slices.DeleteFunc(slices.Clone(allowed), func(a string) bool { return a == "" }), ", "))
	}
}

func between(low, high int64) func(string) error {
	return func(s string) error {
		if n, err := strconv.ParseInt(s, 10, 64); err != nil || n < low || n > high {
			return fmt.Errorf("want a number from %d to %d", low, high)
		}
		return nil
	}
}

// Words for History.Chain: as in geth, and the rolling window.
const (
	HistoryAll        = "all"
	HistoryPostMerge  = "postmerge"
	HistoryPostPrague = "postprague"
	HistoryPostOsaka  = "postosaka"
	HistoryRolling    = "rolling"
)

func historySpan(s string) error {
	words := []string{HistoryAll, HistoryPostMerge, HistoryPostPrague, HistoryPostOsaka, HistoryRolling}
	if slices.Contains(words, s) {
		return nil
	}
	if strings.Contains(s, ":") {
		_, err := gethhistory.ParsePrunePoint(s)
		return err
	}
	if _, err := strconv.ParseUint(s, 10, 64); err != nil {
		return fmt.Errorf("want %s, a number of blocks, or the first block as NUMBER:HASH", strings.Join(words, ", "))
	}
	return nil
}

// unixTime checks an activation time; empty is none.
func unixTime(s string) error {
	if _, err := strconv.ParseUint(s, 10, 64); s != "" && err != nil {
		return errors.New("want seconds since 1970")
	}
	return nil
}

func ether(s string) error {
	if n, err := strconv.ParseFloat(s, 64); err != nil || !(n >= 0 && n <= 1e9) { // nor NaN
		return errors.New("want an amount of ether")
	}
	return nil
}

// namespace checks the form only: see servedNamespaces.
func namespace(s string) error {
	if strings.ContainsFunc(s, func(r rune) bool { return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9') }) {
		return errors.New("want the name of a namespace, such as eth")
	}
	return nil
}

func host(s string) error {
	if _, err := netip.ParseAddr(s); err == nil {
		return nil
	}
	valid := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_'
	}
	// All digits and dots and yet no IP address: a mistyped one, not a name.
	mistyped := strings.Trim(s, "0123456789.") == ""
	if mistyped || strings.ContainsFunc(s, func(r rune) bool { return !valid(r) }) {
		return errors.New("want an IP address or a host name, without a port")
	}
	return nil
}

func pathPrefix(s string) error {
	if s != "" && !strings.HasPrefix(s, "/") || strings.ContainsAny(s, "?#") {
		return errors.New("want a path that starts with /")
	}
	return nil
}

// extraData checks the limit of a header (Yellow Paper, 4.4.4).
func extraData(s string) error {
	if len(s) > 32 {
		return errors.New("want at most 32 bytes")
	}
	return nil
}

// positiveDuration wants a time above zero.
func positiveDuration(s string) error {
	if d, err := time.ParseDuration(s); err != nil || d <= 0 {
		return errors.New("want a time above zero, such as 2s")
	}
	return nil
}

// vmodule checks one rule of go-ethereum's log filter.
func vmodule(s string) error {
	pattern, level, _ := strings.Cut(s, "=")
	if n, err := strconv.Atoi(level); strings.TrimSpace(pattern) == "" || err != nil || n < 0 || n > 5 {
		return errors.New("want pattern=level, with a level from 0 to 5")
	}
	return nil
}

func identity(s string) error {
	if strings.ContainsAny(s, "/\n\r\t") {
		return errors.New("want a name without slashes and line breaks")
	}
	return nil
}

func nodeURL(s string) error {
	_, err := enode.Parse(enode.ValidSchemes, s)
	return err
}

func staticURL(s string) error {
	n, err := enode.Parse(enode.ValidSchemes, s)
	if err != nil {
		return err
	}
	if n.TCP() == 0 || n.IP() == nil && n.Hostname() == "" {
		return errors.New("want a node URL with an address and a TCP port")
	}
	return nil
}

func enrtreeURL(s string) error {
	_, _, err := dnsdisc.ParseURL(s)
	return err
}

func natSpec(s string) error {
	_, err := nat.Parse(s)
	return err
}

func cidr(s string) error {
	_, _, err := net.ParseCIDR(s)
	return err
}

func keyHex(s string) error {
	_, err := crypto.HexToECDSA(s)
	return err
}

func keyFile(path string) error {
	_, err := crypto.LoadECDSA(path)
	return err
}

func hash32(s string) error {
	digits := strings.TrimPrefix(s, "0x")
	if b, err := hex.DecodeString(digits); err != nil || len(b) != 32 {
		return errors.New("want 32 bytes in hex")
	}
	return nil
}

func httpURL(s string) error {
	u, err := url.Parse(s)
	if err != nil {
		return errors.Unwrap(err) // without the value, which is shown anyway
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return errors.New("want an http:// or https:// URL")
	}
	return nil
}

func httpHeader(s string) error {
	key, value, ok := strings.Cut(s, ":")
	if !ok || strings.TrimSpace(key) == "" || strings.ContainsAny(key+value, "\r\n") {
		return errors.New("want key:value")
	}
	return nil
}

// directory accepts what is a directory or could become one.
func directory(path string) error {
	if path == "" {
		return errors.New("want a directory")
	}
	for {
		switch stat, err := os.Stat(path); {
		case err == nil && stat.IsDir():
			return nil
		case err == nil:
			return fmt.Errorf("%s is not a directory", path)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		path = filepath.Dir(path)
	}
}

// blobDirectory accepts a name inside of the datadir, or what could be a directory elsewhere.
func blobDirectory(path string) error {
	if filepath.IsAbs(path) {
		return directory(path)
	}
	if !filepath.IsLocal(path) || path == "." {
		return errors.New("want a name inside of the datadir, or an absolute path")
	}
	return nil
}

// parentExists is for files that may be made, but not in a directory that is not there.
func parentExists(path string) error {
	if path == "" {
		return nil
	}
	stat, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	if !stat.IsDir() {
		return fmt.Errorf("%s is not a directory", filepath.Dir(path))
	}
	if stat, err := os.Stat(path); err == nil && stat.IsDir() {
		return errors.New("is a directory, want a file")
	}
	return nil
}

func jwtFile(path string) error {
	if err := parentExists(path); err != nil {
		return err
	}
	if _, err := ReadJWTSecret(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func checkpointFile(path string) error {
	if err := parentExists(path); err != nil {
		return err
	}
	_, err := new(bparams.ChainConfig).SetCheckpointFile(path)
	return err
}

func beaconConfig(path string) error {
	file, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return new(bparams.ChainConfig).LoadForks(file)
}

func genesisFile(path string) error {
	_, err := ReadGenesis(path)
	return err
}

// ReadGenesis reads a genesis JSON file, as geth's init does, and checks that it has
// a chain configuration whose forks are in order. As in geth, the chain ID may be missing.
func ReadGenesis(path string) (*core.Genesis, error) {
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	genesis := new(core.Genesis)
	if err := json.Unmarshal(file, genesis); err != nil {
		return nil, fmt.Errorf("not a genesis file: %w", err)
	}
	if genesis.Config == nil {
		return nil, errors.New("not a genesis file: no chain config in it")
	}
	if genesis.Config.Clique != nil {
		return nil, errors.New("the genesis file's chain config has clique: proof of authority is not supported, only networks with a consensus client are")
	}
	if err := genesis.Config.CheckConfigForkOrder(); err != nil {
		return nil, fmt.Errorf("the genesis file's chain config: %w", err)
	}
	for addr, account := range genesis.Alloc {
		if b := account.Balance; b != nil && (b.Sign() < 0 || b.BitLen() > 256) {
			return nil, fmt.Errorf("the genesis file's balance of %s does not fit into 256 bits", addr)
		}
	}
	return genesis, nil
}

// ReadJWTSecret reads a secret of 32 bytes in hex, as the Engine API's authentication
// specification has it.
func ReadJWTSecret(path string) ([]byte, error) {
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	digits := strings.TrimPrefix(strings.TrimSpace(string(file)), "0x")
	secret, err := hex.DecodeString(digits)
	if err != nil || len(secret) != 32 {
		return nil, fmt.Errorf("the JWT secret in it is not 32 bytes in hex (64 digits), but %d characters", len(digits))
	}
	return secret, nil
}

// secretDigits is the length of a node key and of a JWT secret: 32 bytes in hex.
const secretDigits = 64

// TornSecret says whether the file of a node key or a JWT secret is shorter than a secret, or has zero bytes: a power
// cut may leave that of a file that was not synced. The caller makes a new one if the file is the node's own.
func TornSecret(path string) bool {
	file, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	text := strings.TrimSpace(string(file))
	digits := strings.TrimPrefix(strings.TrimPrefix(text, "0x"), "0X")
	return len(digits) < secretDigits || strings.ContainsRune(text, 0)
}
