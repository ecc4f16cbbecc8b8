"""Starts a script on several processes of this machine; called by tools/dist_train.sh.

    NNODES=1 NODE_RANK=0 MASTER_ADDR=HOST PORT=29500 \
        python tools/start_processes.py PROCESSES SCRIPT [arguments]
"""
from mmwamim.machine.launch import main

if __name__ == '__main__':
    main()
