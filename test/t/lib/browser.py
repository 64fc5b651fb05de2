#!/usr/bin/python3
"""browser.py: a Chromium without a window, for a test in another language.

Each line read is a JSON object with one or more of: "width" and "dark" (the
device), "open" (an address), "script" (its result is the answer), "shot" (a
file for a picture), "log" (the answer is what the console got). Each is
answered by a line of JSON.
"""
import json
import sys

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

options = Options()
options.binary_location = '/usr/bin/chromium'
# the sandbox needs rights that a container may not give
for argument in ('--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage',
                 '--no-proxy-server'):
    options.add_argument(argument)
options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
driver = webdriver.Chrome(service=Service('/usr/bin/chromedriver'), options=options)

try:
    for line in sys.stdin:
        order = json.loads(line)
        answer = None
        if 'width' in order:
            driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', {
                'width': order['width'], 'height': order.get('height', 740), 'deviceScaleFactor': 1,
                'mobile': order['width'] < 500})
        if 'dark' in order:
            driver.execute_cdp_cmd('Emulation.setEmulatedMedia', {'features': [
                {'name': 'prefers-color-scheme', 'value': 'dark' if order['dark'] else 'light'}]})
        if 'open' in order:
            driver.get(order['open'])
        if 'script' in order:
            answer = driver.execute_script(order['script'])
        if 'shot' in order:
            driver.save_screenshot(order['shot'])
        if 'log' in order:
            answer = [entry['message'] for entry in driver.get_log('browser')]
        print(json.dumps(answer), flush=True)
finally:
    driver.quit()
