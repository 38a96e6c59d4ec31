// Shows the question of a button in a dialog, acts, and says what was done.
'use strict';
(() => {
  const dialog = document.createElement('dialog');
  dialog.className = 'ask';
  dialog.setAttribute('aria-labelledby', 'question');
  const toast = document.createElement('p');
  toast.className = 'toast';
  toast.setAttribute('role', 'status');
  document.body.append(dialog, toast);

  function say(text) {
    toast.textContent = text;
    clearTimeout(toast.timer);
    toast.timer = setTimeout(() => { toast.textContent = ''; }, 8000);
  }

  function fail(text) {
    let alarm = dialog.querySelector('.alarm');
    if (!alarm) {
      alarm = document.createElement('p');
      alarm.className = 'alarm';
      alarm.setAttribute('role', 'alert');
      dialog.querySelector('.buttons').before(alarm);
    }
    alarm.textContent = text;
  }

  async function ask(link) {
    const answer = await fetch(link.href, {headers: {Accept: 'text/html'}, cache: 'no-store'});
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    const question = page.querySelector('.question');
    if (!question) {
      const why = page.querySelector('main p');
      say(why ? why.textContent : answer.statusText);
      return;
    }
    const title = document.createElement('h2');
    title.id = 'question';
    title.textContent = page.querySelector('h1').textContent;
    dialog.replaceChildren(title, document.importNode(question, true));
    dialog.showModal();
  }

  document.addEventListener('click', (e) => {
    const link = e.target.closest('a.act');
    if (link && !(e.ctrlKey || e.metaKey || e.shiftKey || e.button)) {
      e.preventDefault();
      ask(link).catch(() => { location.href = link.href; });
    } else if (e.target === dialog || dialog.contains(e.target) && e.target.closest('a.back')) {
      e.preventDefault();
      dialog.close();
    }
  });

  dialog.addEventListener('submit', async (e) => {
    e.preventDefault();
    const form = e.target;
    const button = form.querySelector('button');
    button.disabled = true;
    try {
      const answer = await fetch(form.action, {method: 'POST', body: new URLSearchParams(new FormData(form)), headers: {Accept: 'text/plain'}});
      const text = (await answer.text()).trim();
      if (!answer.ok) throw new Error(text);
      dialog.close();
      say(text);
      document.dispatchEvent(new Event('look'));
    } catch (err) {
      fail(err.message);
      button.disabled = false;
    }
  });
})();
