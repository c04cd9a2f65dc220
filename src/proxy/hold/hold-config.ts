/** How requests wait for sandboxes. Durations are milliseconds. */
export interface HoldConfig {
  /** `--hold-until-ready`; 0 (default): not at all, unless an annotation of the sandbox says otherwise. */
  readonly holdMs: number;
  /** `--hold-max`, 1024: requests that wait at a time, at least 1; each sandbox has a quarter of it. */
  readonly holdMax: number;
  /** `--hold-release-rate`, 100: requests that go on in a second to a sandbox that became ready; 0: all at once. */
  readonly holdReleaseRate: number;
  readonly wake: WakeConfig;
}

/** Which sandboxes requests wake: those with the annotation, or all secured ones, too. */
export type WakeScope = "annotated" | "all";

/** How requests wake paused sandboxes. */
export interface WakeConfig {
  /** `--wake-enabled`, false. */
  readonly enabled: boolean;
  /** `--wake-park-budget`, 60 s: how long requests wait for one wake, from its start. */
  readonly parkBudgetMs: number;
  /** `--wake-park-max`, 1024: requests that wait for a wake at a time. */
  readonly parkMax: number;
  /** `--wake-scope`, annotated. */
  readonly scope: WakeScope;
  /**
   * `--wake-max`, 32, at least 1: wakes that wait for the answer of the API server at a time. A sandbox that takes long to run
   * after that keeps no other from being woken.
   */
  readonly wakeMax: number;
  /** `--wake-ignore-paths`: paths that never wake. */
  readonly ignoredPaths: ReadonlySet<string>;
}
