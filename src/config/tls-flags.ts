import type { FlagSpec } from "./flag-spec.ts";

const FILE = { type: "string", default: "", group: "Traffic", valueName: "file" } as const;

/** The port with TLS, and HTTP/2. */
export const TLS_FLAGS = [
  {
    name: "tls-cert-file",
    ...FILE,
    help: "Certificate chain in PEM; with --tls-key-file it opens --tls-port; watched, for new connections",
  },
  {
    name: "tls-key-file",
    ...FILE,
    help: "Private key of the certificate in PEM, RSA or ECDSA, not encrypted; watched",
  },
  {
    name: "tls-port",
    type: "int",
    default: "28443",
    group: "Traffic",
    valueName: "port",
    min: 0,
    max: 65_535,
    help: "Port to listen on with TLS; 0 takes a free port",
  },
  {
    name: "tls-only",
    type: "bool",
    default: "false",
    group: "Traffic",
    help: "Do not open --port: all traffic comes with TLS",
  },
  {
    name: "tls-min-version",
    type: "choice",
    default: "1.2",
    group: "Traffic",
    valueName: "version",
    choices: ["1.2", "1.3"],
    help: "Lowest version of TLS: 1.2 or 1.3",
  },
  {
    name: "tls-client-ca-file",
    ...FILE,
    help: "Authorities in PEM: clients with TLS must show a certificate that one of them has signed; watched",
  },
  {
    name: "http2",
    type: "bool",
    default: "false",
    group: "Traffic",
    help: "Serve HTTP/2, too: with TLS by ALPN, without TLS to clients with prior knowledge; experimental in Bun",
  },
] as const satisfies readonly FlagSpec[];
