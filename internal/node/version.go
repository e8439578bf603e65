// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// version is that of the source; what is built from a commit says so.
const version = "0.1.0"

// Version is the version with the commit it was built from, if that is known.
func Version() string {
	if c := commit(); c != "" {
		return "v" + version + "-" + c[:min(8, len(c))]
	}
	return "v" + version
}

// VersionText is what the version command prints.
func VersionText() string {
	var out strings.Builder
	fmt.Fprintf(&out, "Sunbeam\nVersion: %s\n", Version())
	if c := commit(); c != "" {
		fmt.Fprintf(&out, "Git Commit: %s\n", c)
	}
	fmt.Fprintf(&out, "go-ethereum: %s\nArchitecture: %s\nGo Version: %s\nOperating System: %s\n",
		gethVersion(), runtime.GOARCH, runtime.Version(), runtime.GOOS)
	return out.String()
}

// clientName is what peers and web3_clientVersion see, in the form that all clients use.
func clientName(identity string) string {
	name := "Sunbeam"
	if identity != "" {
		name += "/" + identity
	}
	return fmt.Sprintf("%s/%s/%s-%s/%s", name, Version(), runtime.GOOS, runtime.GOARCH, runtime.Version())
}

// commit is the hex hash of the git commit, empty if the build does not know it.
func commit() string {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, setting := range build.Settings {
		if setting.Key == "vcs.revision" {
			return setting.Value
		}
	}
	return ""
}

func gethVersion() string {
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, module := range build.Deps {
			if module.Path == "github.com/ethereum/go-ethereum" {
				return module.Version
			}
		}
	}
	return "unknown"
}
