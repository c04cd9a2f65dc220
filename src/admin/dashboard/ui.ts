/**
 * The UI library, named here alone. Preact: 5 KB compressed with its hooks, no dependency, no build step of its own (Bun
 * compiles the JSX), and text is always set as text, never as HTML, so that a sandbox's name cannot become markup.
 */
export { type ComponentChildren, type RefObject, render } from "preact";
export { useCallback, useEffect, useErrorBoundary, useRef, useState } from "preact/hooks";
