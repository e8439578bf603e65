// SPDX-License-Identifier: LGPL-3.0-or-later

// Package config turns flags, environment and a TOML file into one checked Config.
//
// One table ([options], options.go) has a row per setting: its flag, the field of
// [Config] that it fills, its help text and its check. Everything else follows from
// the row: --http.addr is SUNBEAM_HTTP_ADDR in the environment and Addr in section
// [HTTP] of the file, because its field is HTTP.Addr.
//
// Ordering rules:
//
//   - flag > environment > file > default. Only the winner is parsed and checked.
//   - Everything is checked before anything is created on disk, including the content
//     of the named files: [Load] reads, it never writes.
//
// A bad value is a *[ValueError]: one line that names the flag, the value and where
// the value came from.
package config
