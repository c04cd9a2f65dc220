/** A step with a name, and the names of the steps that must run before it. */
export interface SelectableStep {
  readonly name: string;
  /** Unknown names are ignored: a machine may lack what such a step needs. */
  readonly needs?: readonly string[];
}

/**
 * The named steps and the steps they need, in the order of the list, each once; all steps without a name. Throws an
 * Error that lists the known names if a name is unknown.
 */
export function selectSteps<Step extends SelectableStep>(
  steps: readonly Step[],
  names: readonly string[],
): readonly Step[] {
  if (names.length === 0) return steps;
  const byName = new Map(steps.map((step) => [step.name, step]));
  const unknown = names.filter((name) => !byName.has(name));
  if (unknown.length > 0) {
    throw new Error(`unknown step ${unknown.join(", ")}: choose from ${[...byName.keys()].join(", ")}`);
  }
  const selected = new Set<string>();
  const add = (name: string): void => {
    const step = byName.get(name);
    if (step === undefined || selected.has(name)) return;
    selected.add(name);
    for (const needed of step.needs ?? []) add(needed);
  };
  for (const name of names) add(name);
  return steps.filter((step) => selected.has(step.name));
}
