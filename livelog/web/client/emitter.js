/* Event handlers by the name of their event. */

export class Emitter {
  #handlers = new Map();

  /** Call `handler` on each event of this name; return a function that removes it. */
  on(name, handler) {
    const handlers = this.#handlers.get(name) ?? new Set();
    this.#handlers.set(name, handlers.add(handler));
    return () => handlers.delete(handler);
  }

  emit(name, detail) {
    for (const handler of [...(this.#handlers.get(name) ?? [])]) callGuarded(handler, detail);
  }
}

/** Call a handler of the application; an error in it is reported and must not stop the others. */
export function callGuarded(handler, detail) {
  try {
    handler?.(detail);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
