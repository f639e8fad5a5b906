"""The module that does nothing: what every task costs."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

if __name__ == "__main__":
    AnsibleModule(argument_spec={}).exit_json(changed=False)
