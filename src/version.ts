/** Where a binary comes from. `scripts/build` defines the values; a run from source has the fallbacks. */
export interface BuildInfo {
  /** The release, as in package.json or the tag; `dev` from source. */
  readonly version: string;
  /** Abbreviated commit, with `-dirty` if the tree had changes; `unknown` from source or without git. */
  readonly commit: string;
  /** ISO 8601, UTC; SOURCE_DATE_EPOCH if set at build time; `unknown` from source. */
  readonly buildTime: string;
  /** The version of Bun that is compiled in. */
  readonly bunVersion: string;
  /** `<os>-<architecture>` as in container platforms (`linux-amd64`); `unknown` from source. */
  readonly platform: string;
}

/** The address of OpenSandbox, the project that the ingress belongs to. package.json has the same one. */
export const PROJECT_URL = "https://github.com/alibaba/OpenSandbox";

// The bundler's `define` replaces these. They do not exist in a run from source; `typeof` does not throw then.
declare const INGRESS_BUILD_VERSION: string | undefined;
declare const INGRESS_BUILD_COMMIT: string | undefined;
declare const INGRESS_BUILD_TIME: string | undefined;
declare const INGRESS_BUILD_BUN_VERSION: string | undefined;
declare const INGRESS_BUILD_PLATFORM: string | undefined;

/** This program's build metadata. */
export const buildInfo: BuildInfo = Object.freeze({
  version: typeof INGRESS_BUILD_VERSION === "string" ? INGRESS_BUILD_VERSION : "dev",
  commit: typeof INGRESS_BUILD_COMMIT === "string" ? INGRESS_BUILD_COMMIT : "unknown",
  buildTime: typeof INGRESS_BUILD_TIME === "string" ? INGRESS_BUILD_TIME : "unknown",
  bunVersion: typeof INGRESS_BUILD_BUN_VERSION === "string" ? INGRESS_BUILD_BUN_VERSION : Bun.version,
  platform: typeof INGRESS_BUILD_PLATFORM === "string" ? INGRESS_BUILD_PLATFORM : "unknown",
});

/**
 * One line for `--version` and the log: `0.1.0 (commit 1a2b3c4, built 2026-01-01T00:00:00Z, bun 1.4.5, linux-amd64)`.
 */
export function formatBuildInfo(info: BuildInfo = buildInfo): string {
  return `${info.version} (commit ${info.commit}, built ${info.buildTime}, bun ${info.bunVersion}, ${info.platform})`;
}
