"""Loaded into a kernel that runs a page: its hidden tests leave no trace in what the page shows.

They see all that the page has defined, and what the hidden cells before them have. After each of them the page has its own
names and random numbers again, as for a reader of the site, who does not run them."""

import re

HIDDEN = re.compile(r"^#\|[ \t]*(hide$|include: false)", re.M)
OF_IPYTHON = re.compile(r"_+|_i+|_i?\d+|_[dio]h|_exit_code|__\w+|In|Out|exit|quit|get_ipython")


class KeptApart:
    "The names that hidden cells have defined or changed, put in place for hidden cells only."

    def __init__(self, names):
        from minibatch_mlp import learner  # not above: who only asks what is hidden need not wait for PyTorch

        self.learner, self.names = learner, names  # the names are those of the kernel
        self.hidden = {}

    def now(self):
        return {name: value for name, value in self.names.items() if not OF_IPYTHON.fullmatch(name)}

    def before(self, info):
        self.page, self.random = self.now(), self.learner.random_state([])
        if HIDDEN.search(info.raw_cell):
            self.names.update(self.hidden)

    def after(self, result):
        now = self.now()
        changed = {name: value for name, value in now.items() if name not in self.page or self.page[name] is not value}
        if HIDDEN.search(result.info.raw_cell):
            self.hidden = changed
            for name in now:
                del self.names[name]
            self.names.update(self.page)
            self.learner.set_random_state(self.random, [])
        else:
            for name in changed:  # the page's is the newer one
                self.hidden.pop(name, None)


def load_ipython_extension(shell):
    apart = KeptApart(shell.user_ns)
    shell.events.register("pre_run_cell", apart.before)
    shell.events.register("post_run_cell", apart.after)
