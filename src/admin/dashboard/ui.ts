/**
 * The UI library. Only this file names it. Preact has 5 KB compressed with its hooks, no dependencies and no build step
 * of its own, since Bun compiles the JSX. It sets text as text, never as HTML, so a sandbox's name cannot become
 * markup.
 */
export { type ComponentChildren, type RefObject, render } from "preact";
export { useCallback, useEffect, useErrorBoundary, useRef, useState } from "preact/hooks";
