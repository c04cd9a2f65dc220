"use client";
import { useState } from "react";
import { message } from "./message";

export default function Page() {
  const [count, setCount] = useState(0);
  return (
    <>
      <p id="message">{message}</p>
      <button onClick={() => setCount(count + 1)}>{count}</button>
    </>
  );
}
