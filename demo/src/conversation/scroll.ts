const nearBottomPx = 48;

export interface BottomScroll {
  /** Goes to the bottom and stays there. */
  stick(): void;
}

/**
 * Keeps `page` at its bottom while `content` in it grows, until the reader scrolls up; at the
 * bottom again it holds on again. `jump` shows while it has let go.
 */
export function createBottomScroll(
  page: HTMLElement,
  content: Element,
  jump: HTMLButtonElement,
): BottomScroll {
  let isStuck = true;
  let lastTop = page.scrollTop;

  const isAtBottom = () => page.scrollHeight - page.scrollTop - page.clientHeight < nearBottomPx;

  function hold(): void {
    if (isStuck) page.scrollTop = page.scrollHeight;
    jump.hidden = isStuck || isAtBottom();
  }

  function stick(): void {
    isStuck = true;
    hold();
  }

  page.addEventListener(
    'scroll',
    () => {
      // Text may grow between a scroll and its event, so only moving up is the reader's doing.
      if (isAtBottom()) isStuck = true;
      else if (page.scrollTop < lastTop) isStuck = false;
      lastTop = page.scrollTop;
      jump.hidden = isStuck;
    },
    { passive: true },
  );
  const resized = new ResizeObserver(hold);
  resized.observe(content);
  resized.observe(page);
  jump.addEventListener('click', stick);

  return { stick };
}
