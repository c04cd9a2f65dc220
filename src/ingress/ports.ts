import type { Config } from "../config/parse-config.ts";
import type { ListenPlace } from "../host/listening.ts";
import type { TlsSettings } from "../proxy/tls-settings.ts";
import type { KeyPair } from "../tls/key-pair.ts";

/** Where the admin port opens. */
export function adminPlace({ adminHost: host, isDefaultAdminHost: isDefault, adminPort: port }: Config): ListenPlace {
  return { host, isDefault, port, flags: "--admin-host, --admin-port" };
}

/** Where the port without TLS opens. */
export function trafficPlace({ host, isDefaultHost: isDefault, port }: Config): ListenPlace {
  return { host, isDefault, port, flags: "--host, --port" };
}

/** Where the port with TLS opens. */
export function tlsPlace({ host, isDefaultHost: isDefault }: Config, port: number): ListenPlace {
  return { host, isDefault, port, flags: "--host, --tls-port" };
}

/** What the port with TLS shows and asks for. */
export function tlsSettings({ tls }: Config, { cert, key, clientCa }: KeyPair): TlsSettings {
  return { cert, key, clientCa, minVersion: tls?.minVersion ?? "1.2" };
}
